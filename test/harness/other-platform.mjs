// Preloaded (--import) into a kpctl: the system is macOS, as far as programs can see, and whatever is only Linux's cannot be had.
import fs from 'node:fs';
import { registerHooks, syncBuiltinESMExports } from 'node:module';

Object.defineProperty(process, 'platform', { value: 'darwin' });

const linuxOnly = [
  /^koffi$/,
  /\/src\/platform\/(datagrams|namespaces|socket-diagnostics|routes|netlink)[^/]*\.ts$/,
  /\/src\/simulator\/(machine|datagrams)\/(?!index|types|addresses)[^/]*\.ts$/,
  /\/src\/simulator\/network\/inside\//,
  /\/src\/lab\//,
];

/** @param {string} what */
function refuse(what) {
  throw new Error(`ONLY ON LINUX: ${what}`);
}

registerHooks({
  resolve(specifier, context, next) {
    const resolved = next(specifier, context);
    if (linuxOnly.some((pattern) => pattern.test(specifier) || pattern.test(resolved.url))) refuse(`import of ${specifier}`);
    return resolved;
  },
});

/** There is no /proc and no /sys: what looks whether there is one finds none, as on macOS. */
const missing = (/** @type {unknown} */ path) => typeof path === 'string' && /^\/(proc|sys)(\/|$)/.test(path);
for (const name of ['readFileSync', 'readdirSync', 'readlinkSync', 'openSync', 'statSync', 'lstatSync', 'accessSync', 'realpathSync']) {
  const original = fs[name];
  fs[name] = Object.assign((path, ...rest) => {
    if (missing(path)) throw Object.assign(new Error(`ENOENT: ${path}`), { code: 'ENOENT' });
    return original(path, ...rest);
  }, original);
}
const { existsSync } = fs;
fs.existsSync = (path) => !missing(path) && existsSync(path);
const { readFile } = fs.promises;
fs.promises.readFile = async (path, ...rest) => {
  if (missing(path)) throw Object.assign(new Error(`ENOENT: ${path}`), { code: 'ENOENT' });
  return await readFile(path, ...rest);
};
syncBuiltinESMExports();

// Preloaded (--import) into a kpctl: the system is macOS, as far as programs can see, and whatever is only Linux's cannot be had.
import fs from 'node:fs';
import { registerHooks, syncBuiltinESMExports } from 'node:module';

Object.defineProperty(process, 'platform', { value: 'darwin' });

const linuxOnly = [
  /^koffi$/,
  /\/src\/platform\/(datagrams|namespaces|socket-diagnostics)\.ts$/,
  /\/src\/simulator\/machine\/helper\//,
  /\/src\/simulator\/network\/inside\//,
  /\/src\/lab\//,
];

registerHooks({
  resolve(specifier, context, next) {
    const resolved = next(specifier, context);
    const isLinuxOnly = linuxOnly.some((pattern) => pattern.test(specifier) || pattern.test(resolved.url));
    if (isLinuxOnly) throw new Error(`ONLY ON LINUX: import of ${specifier}`);
    return resolved;
  },
});

/** There is no /proc and no /sys: whoever looks there finds nothing, as on macOS. */
function isMissing(path: unknown): boolean {
  return typeof path === 'string' && /^\/(proc|sys)(\/|$)/.test(path);
}

function hide(owner: object, name: string): void {
  const original: unknown = Reflect.get(owner, name);
  if (typeof original !== 'function') throw new TypeError(name);
  const hidden = (...parameters: unknown[]): unknown => {
    if (!isMissing(parameters[0])) return Reflect.apply(original, owner, parameters);
    if (name === 'existsSync') return false;
    throw Object.assign(new Error(`ENOENT: ${String(parameters[0])}`), { code: 'ENOENT' });
  };
  Reflect.set(owner, name, Object.assign(hidden, original));
}

for (const name of ['existsSync', 'readFileSync', 'readdirSync', 'readlinkSync', 'openSync', 'statSync', 'lstatSync', 'accessSync'])
  hide(fs, name);
for (const name of ['readFile', 'readdir', 'readlink', 'open', 'stat']) hide(fs.promises, name);
syncBuiltinESMExports();

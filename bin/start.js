// Starts one of the two programs. Plain JavaScript, so that an old Node says what it lacks instead of a syntax error.
import { existsSync, realpathSync, statSync } from 'node:fs';
import * as nodeModule from 'node:module';
import { homedir, userInfo } from 'node:os';
import { basename, dirname, join } from 'node:path';

/**
 * @param {'kpctl' | 'kpeering'} program
 * @param {string} [file] where it begins, below src and without its ending: a program that `program` starts for itself
 */
export function start(program, file = `${program}/main`) {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
  if (major < 22 || (major === 22 && minor < 12)) {
    fail(`${program} needs Node 22.12 or newer, and this is ${process.versions.node}`);
    return;
  }
  const source = new URL(`../src/${file}.ts`, import.meta.url);
  const built = new URL(`../dist/${file}.js`, import.meta.url);
  // A checkout runs unbuilt, where Node strips types (22.18 and 23.6 on); a package has no src.
  const unbuilt = existsSync(source) && Boolean(process.features.typescript);
  if (!unbuilt && !existsSync(built)) {
    fail(`${program} is not built for Node ${process.versions.node}: run "npm run build", or use Node 22.18 or newer`);
    return;
  }
  // Halves kpctl's start. Not for the demo, which leaves nothing, nor for a pod, whose file system is read-only.
  if (program === 'kpctl' && process.argv[2] !== 'demo') {
    nodeModule.enableCompileCache?.(join(cacheFolder(), 'kpctl'));
  }
  resolveDirectly();
  void import((unbuilt ? source : built).href);
}

/**
 * A relative import is the file that it names, in the format of the file that names it: no look-up of links, package.json and formats for each of
 * some 400 modules, which is a fifth of the start. (Not of .mjs or .cjs, whose neighbours may have the other format.)
 */
function resolveDirectly() {
  /** @type {Map<string, string>} */
  const formats = new Map();
  nodeModule.registerHooks?.({
    resolve(specifier, context, next) {
      const parent = context.parentURL;
      const extension = specifier.slice(-3);
      if (parent !== undefined && specifier.startsWith('.') && parent.endsWith(extension) && (extension === '.ts' || extension === '.js')) {
        const format = formats.get(parent);
        if (format === 'module' || format === 'module-typescript') {
          const { href } = new URL(specifier, parent);
          formats.set(href, format);
          return { url: href, format, shortCircuit: true };
        }
      }
      const resolved = next(specifier, context);
      if (typeof resolved.format === 'string') formats.set(resolved.url, resolved.format);
      return resolved;
    },
  });
}

/** Code for root is not taken from a folder that somebody else may write to, or put another in the place of, though sudo has left that one's name in the environment. */
function cacheFolder() {
  const folder = process.env['XDG_CACHE_HOME'] || join(homedir(), '.cache');
  return process.getuid?.() !== 0 ? folder : (rootsOwn(folder) ?? join(userInfo().homedir, '.cache'));
}

/**
 * The folder without links on its way, if root alone decides what is in it.
 * @param {string} folder of one that does not exist its parent counts
 */
function rootsOwn(folder) {
  try {
    const real = existsSync(folder) ? realpathSync(folder) : join(realpathSync(dirname(folder)), basename(folder));
    for (let path = existsSync(real) ? real : dirname(real), inner = true; ; path = dirname(path), inner = false) {
      const { uid, mode } = statSync(path);
      // In a folder like /tmp nobody removes what is another's.
      if (uid !== 0 || ((mode & 0o022) !== 0 && (inner || (mode & 0o1000) === 0))) return undefined;
      if (path === dirname(path)) return real;
    }
  } catch {
    return undefined;
  }
}

/** @param {string} message */
function fail(message) {
  process.stderr.write(`${message}\n`);
  process.exitCode = 1;
}

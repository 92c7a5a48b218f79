// Starts one of the two programs. Plain JavaScript, so that an old Node says what it lacks instead of a syntax error.
import { existsSync } from 'node:fs';
import * as nodeModule from 'node:module';
import { homedir } from 'node:os';
import { join } from 'node:path';

/** @param {'kpctl' | 'kpeering'} program */
export function start(program) {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
  if (major < 22 || (major === 22 && minor < 12)) {
    fail(`${program} needs Node 22.12 or newer, and this is ${process.versions.node}`);
    return;
  }
  const source = new URL(`../src/${program}/main.ts`, import.meta.url);
  const built = new URL(`../dist/${program}/main.js`, import.meta.url);
  // A checkout runs unbuilt, where Node strips types (22.18 and 23.6 on); a package has no src.
  const unbuilt = existsSync(source) && Boolean(process.features.typescript);
  if (!unbuilt && !existsSync(built)) {
    fail(`${program} is not built for Node ${process.versions.node}: run "npm run build", or use Node 22.18 or newer`);
    return;
  }
  // Halves kpctl's start. Not for the demo, which leaves nothing, nor for a pod, whose file system is read-only.
  if (program === 'kpctl' && process.argv[2] !== 'demo') {
    nodeModule.enableCompileCache?.(join(process.env['XDG_CACHE_HOME'] || join(homedir(), '.cache'), 'kpctl'));
  }
  void import((unbuilt ? source : built).href);
}

/** @param {string} message */
function fail(message) {
  process.stderr.write(`${message}\n`);
  process.exitCode = 1;
}

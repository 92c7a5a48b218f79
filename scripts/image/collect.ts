// Copies what the program kpeering loads, and nothing else, to a folder that becomes /opt/kpeering of its image:
//
//   node --experimental-import-meta-resolve scripts/image/collect.ts COMPILED MODULES CPU TO
//
//   COMPILED  the compiled code (tsc's outDir)
//   MODULES   the folder that has node_modules with the dependencies of the image's platform
//   CPU       the image's processor, as Node calls it: x64, arm64
//
// It follows the imports of the compiled code through node_modules. A package that loads something by a name that is not
// written out is taken as a whole, but for its types, maps, sources and texts.
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, realpathSync, statSync } from 'node:fs';
import { createRequire, isBuiltin } from 'node:module';
import { basename, dirname, extname, join, relative, resolve, sep } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

const checkout = fileURLToPath(new URL('../../', import.meta.url));
const program = 'kpeering';
const code = new Set(['.js', '.cjs', '.mjs']);
const runnable = new Set([...code, '.json', '.node', '.wasm']);

/** `import … from 'x'`, `export … from 'x'`, `import 'x'` and `import('x')`. */
const imports = /(?:\bfrom\s*|\bimport\s*\(?\s*)(["'])([^"'\n]+)\1/gu;
/** `require('x')`, `require.resolve('x')`, `createRequire(…)('x')`. */
const requires = /(?:\brequire(?:\.resolve)?\s*|\bcreateRequire\([^)\n]*\)\s*)\(\s*(["'])([^"'\n]+)\1\s*\)/gu;
/** `new URL('x', import.meta.url)`: a file beside this one. */
const files = /\bnew URL\(\s*(["'])([^"'\n]+)\1\s*,\s*import\.meta\.url\s*\)/gu;
/** A load whose name is made at run time. */
const computed =
  /\brequire(?:\.resolve)?\s*\(\s*(?:[^"'\s)]|["'][^"'\n]*["']\s*\+)|\bimport\s*\(\s*(?:[^"'\s)]|["'][^"'\n]*["']\s*\+)|\brequire\s*=\s*/u;

function main([compiledFolder, modulesFolder, cpu, to]: readonly string[]): void {
  if (compiledFolder === undefined || modulesFolder === undefined || cpu === undefined || to === undefined)
    throw new Error('usage: collect.ts COMPILED MODULES CPU TO');
  const compiled = realpathSync(compiledFolder);
  const modules = realpathSync(join(modulesFolder, 'node_modules'));
  const reached = new Reached(compiled, modules, cpu);
  reached.add(join(compiled, program, 'main.js'));
  reached.follow();
  for (const file of reached.files) {
    const inside = file.startsWith(modules + sep) ? join('node_modules', relative(modules, file)) : join('dist', relative(compiled, file));
    put(file, join(to, inside));
  }
  for (const file of [`bin/${program}.js`, 'bin/start.js', 'bin/supervise.sh', 'package.json', 'LICENSE'])
    put(join(checkout, file), join(to, file));
}

function put(from: string, to: string): void {
  mkdirSync(dirname(to), { recursive: true });
  cpSync(from, to, { dereference: true });
}

/** The files that are needed, found from those that were added. */
class Reached {
  readonly files = new Set<string>();
  readonly #compiled: string;
  readonly #modules: string;
  readonly #cpu: string;
  readonly #unread: string[] = [];
  readonly #packages = new Set<string>();
  readonly #whole = new Set<string>();

  constructor(compiled: string, modules: string, cpu: string) {
    this.#compiled = compiled;
    this.#modules = modules;
    this.#cpu = cpu;
  }

  add(file: string): void {
    if (this.files.has(file)) return;
    this.files.add(file);
    this.#unread.push(file);
    const owner = this.#packageOf(file);
    if (owner !== undefined) this.#addPackage(owner);
  }

  follow(): void {
    for (let file = this.#unread.pop(); file !== undefined; file = this.#unread.pop()) if (code.has(extname(file))) this.#read(file);
  }

  #read(file: string): void {
    const text = readFileSync(file, 'utf8');
    const owner = this.#packageOf(file);
    if (owner === undefined && computed.test(text)) throw new Error(`${file} imports by a name made at run time, which cannot be followed`);
    // What is compiled of ours is imported from where the dependencies are.
    const from = owner === undefined ? join(this.#modules, '..', 'package.json') : file;
    for (const [, , name = ''] of text.matchAll(files)) {
      const target = resolve(dirname(file), name);
      if (code.has(extname(target)) && existsSync(target) && statSync(target).isFile()) this.add(target);
    }
    for (const [, , name = ''] of text.matchAll(imports))
      this.#load(name, file, () => fileURLToPath(import.meta.resolve(name, pathToFileURL(from).href)));
    for (const [, , name = ''] of text.matchAll(requires)) this.#load(name, file, () => createRequire(from).resolve(name));
    if (owner !== undefined && computed.test(text)) this.#addWhole(owner);
  }

  #load(name: string, by: string, find: () => string): void {
    if (isBuiltin(name)) return;
    const ours = this.#packageOf(by) === undefined;
    if (ours && name.startsWith('.')) {
      this.add(resolve(dirname(by), name));
      return;
    }
    let found: string;
    try {
      found = realpathSync(find());
    } catch (error) {
      // In a package it may be an optional dependency, or words in a comment.
      if (ours) throw new Error(`${relative(this.#compiled, by)} imports ${name}, which is not in ${this.#modules}`, { cause: error });
      return;
    }
    if (found.startsWith(this.#modules + sep) && runnable.has(extname(found)) && statSync(found).isFile()) this.add(found);
  }

  /** The folder of the package in node_modules that a file is of; undefined for a file of ours. */
  #packageOf(file: string): string | undefined {
    if (!file.startsWith(this.#modules + sep)) return undefined;
    const parts = file.split(sep);
    const at = parts.lastIndexOf('node_modules') + 1;
    return parts.slice(0, at + (parts[at]?.startsWith('@') === true ? 2 : 1)).join(sep);
  }

  #addPackage(folder: string): void {
    if (this.#packages.has(folder)) return;
    this.#packages.add(folder);
    for (const entry of readdirSync(folder))
      if (/^(?:package\.json$|licen[cs]e|notice|copying)/iu.test(entry)) this.files.add(join(folder, entry));
    // koffi finds its own library by the platform's name.
    if (basename(folder) === 'koffi') this.#addWhole(join(this.#modules, '@koromix', `koffi-linux-${this.#cpu}`));
    // Folders of a package may say of what kind their files are.
    for (const file of readdirSync(folder, { recursive: true, encoding: 'utf8' }))
      if (basename(file) === 'package.json' && !file.split(sep).includes('node_modules')) this.files.add(join(folder, file));
  }

  #addWhole(folder: string): void {
    if (this.#whole.has(folder)) return;
    this.#whole.add(folder);
    const foreign = `musl_${this.#cpu}`; // the image has glibc
    for (const file of readdirSync(folder, { recursive: true, encoding: 'utf8' })) {
      const parts = file.split(sep);
      if (runnable.has(extname(file)) && !parts.includes('node_modules') && !parts.includes(foreign)) this.add(join(folder, file));
    }
  }
}

main(process.argv.slice(2));

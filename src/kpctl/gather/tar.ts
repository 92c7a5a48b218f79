/** A file of an archive. */
export interface ArchiveFile {
  /** Relative, with slashes. */
  readonly path: string;
  readonly content: string;
}

const BLOCK = 512;
const MAX_NAME = 100;
const MAX_PREFIX = 155;

/**
 * A tar archive in the ustar format (POSIX.1-2017, pax: "ustar Interchange Format"), which every tar reads: regular files of mode 0600. Paths
 * that do not fit are shortened in their middle. `modified` is of all files.
 */
export function tarOf(files: readonly ArchiveFile[], modified: Date): Buffer {
  const taken = new Set<string>();
  const blocks = files.flatMap(({ path, content }) => {
    const data = Buffer.from(content);
    const name = unique(fitting(path), taken);
    return [headerOf(name, data.length, modified), data, Buffer.alloc((BLOCK - (data.length % BLOCK)) % BLOCK)];
  });
  // Two blocks of zeros are the end.
  return Buffer.concat([...blocks, Buffer.alloc(2 * BLOCK)]);
}

function headerOf(path: string, size: number, modified: Date): Buffer {
  const { name, prefix } = splitPath(path);
  const header = Buffer.alloc(BLOCK);
  const octal = (value: number, offset: number, length: number): void => {
    header.write(`${value.toString(8).padStart(length - 1, '0')}\0`, offset, 'latin1');
  };
  header.write(name, 0, MAX_NAME);
  octal(0o600, 100, 8);
  octal(0, 108, 8);
  octal(0, 116, 8);
  octal(size, 124, 12);
  octal(Math.floor(modified.getTime() / 1000), 136, 12);
  // The checksum counts itself as blanks.
  header.write('        ', 148, 'latin1');
  header.write('0', 156, 'latin1');
  header.write('ustar\u000000', 257, 'latin1');
  header.write(prefix, 345, MAX_PREFIX);
  const sum = header.reduce((total, byte) => total + byte, 0);
  header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
  return header;
}

/** The header has room for the last part and, beside it, for what comes before its slash. */
function splitPath(path: string): { readonly name: string; readonly prefix: string } {
  if (Buffer.byteLength(path) <= MAX_NAME) return { name: path, prefix: '' };
  for (let slash = path.indexOf('/'); slash > 0; slash = path.indexOf('/', slash + 1)) {
    const prefix = path.slice(0, slash);
    const name = path.slice(slash + 1);
    if (Buffer.byteLength(name) <= MAX_NAME && Buffer.byteLength(prefix) <= MAX_PREFIX) return { name, prefix };
  }
  throw new RangeError(`the path ${path} does not fit into a tar archive`);
}

/** ASCII without `..`; each part short enough that four of them fit. */
function fitting(path: string): string {
  const parts = path.split('/').filter((part) => part !== '' && part !== '.' && part !== '..');
  return parts.map((part) => shortened(part.replaceAll(/[^ -~]/gu, '_').replaceAll('\\', '_'))).join('/');
}

function shortened(part: string): string {
  const most = 60;
  return part.length <= most ? part : `${part.slice(0, 30)}~${part.slice(-(most - 31))}`;
}

function unique(path: string, taken: Set<string>): string {
  let name = path;
  for (let number = 2; taken.has(name); number++) name = path.replace(/([^/]*)$/u, `${number}-$1`);
  taken.add(name);
  return name;
}

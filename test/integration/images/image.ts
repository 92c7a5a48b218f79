import { execFileSync } from 'node:child_process';
import { lstat, mkdir, mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';
import { run, type Outcome } from '../../../src/kpctl/demo/processes.ts';

export const checkout = fileURLToPath(new URL('../../../', import.meta.url));

const manifestSchema = z
  .array(z.object({ Config: z.string(), RepoTags: z.array(z.string()), Layers: z.array(z.string()) }))
  .length(1)
  .transform(([image]) => image);
const configSchema = z.object({
  architecture: z.string(),
  os: z.string(),
  config: z.object({
    User: z.string().optional(),
    Entrypoint: z.array(z.string()),
    Labels: z.record(z.string(), z.string()),
  }),
});

/** A file of an image: its path begins with "/". */
export interface ImageFile {
  readonly path: string;
  readonly mode: number;
  readonly kind: 'file' | 'folder' | 'link' | 'other';
}

/** Runs scripts/images and unpacks what it made, in a temporary folder. */
export class Images implements AsyncDisposable {
  readonly folder: string;
  readonly outcome: Outcome;

  static async build(...options: readonly string[]): Promise<Images> {
    const folder = await mkdtemp(join(tmpdir(), 'kpeering-images-'));
    const argv = ['sh', join(checkout, 'scripts/images'), '--builder', 'host', '--output', folder, ...options];
    return new Images(folder, await run(argv, process.env));
  }

  private constructor(folder: string, outcome: Outcome) {
    this.folder = folder;
    this.outcome = outcome;
  }

  archive(name: string): string {
    return join(this.folder, `${name}.tar`);
  }

  async open(name: string): Promise<Image> {
    const unpacked = join(this.folder, name);
    const root = join(unpacked, 'root');
    await mkdir(root, { recursive: true });
    execFileSync('tar', ['-xf', this.archive(name), '-C', unpacked]);
    const manifest = manifestSchema.parse(JSON.parse(await readFile(join(unpacked, 'manifest.json'), 'utf8')));
    if (manifest === undefined) throw new Error('the archive has no image');
    for (const layer of manifest.Layers) execFileSync('tar', ['-xpf', join(unpacked, layer), '-C', root, '--no-same-owner']);
    const config = configSchema.parse(JSON.parse(await readFile(join(unpacked, manifest.Config), 'utf8')));
    return new Image(root, manifest.RepoTags, config);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.folder, { recursive: true, force: true });
  }
}

/** An image, unpacked. */
export class Image {
  readonly root: string;
  readonly names: readonly string[];
  readonly config: z.infer<typeof configSchema>;

  constructor(root: string, names: readonly string[], config: z.infer<typeof configSchema>) {
    this.root = root;
    this.names = names;
    this.config = config;
  }

  async files(): Promise<readonly ImageFile[]> {
    const entries = await readdir(this.root, { recursive: true, withFileTypes: true });
    return await Promise.all(
      entries.map(async (entry) => {
        const full = join(entry.parentPath, entry.name);
        const kind = entry.isSymbolicLink() ? 'link' : entry.isDirectory() ? 'folder' : entry.isFile() ? 'file' : 'other';
        return { path: full.slice(this.root.length), mode: (await lstat(full)).mode & 0o7777, kind };
      }),
    );
  }

  /**
   * Runs a program of the image in it, on a root file system that cannot be written, as an ordinary user (kpeering's own id) without any
   * capability, and with the folders `hidden` empty.
   */
  async run(argv: readonly string[], hidden: readonly string[] = []): Promise<Outcome> {
    const user = ['unshare', '--user', '--map-user=15300', '--map-group=15300'];
    const steps = [
      'mount --bind "$0" "$0"',
      ...hidden.map((folder) => `mount -t tmpfs none "$0${folder}"`),
      'mount -o remount,ro,bind "$0"',
      // A user namespace more: its first exec takes the capabilities away, and it enters the root before.
      `exec ${user.join(' ')} --root="$0" "$@"`,
    ].join(' && ');
    const environment = { PATH: '/usr/sbin:/usr/bin:/sbin:/bin' };
    return await run([...user, '--keep-caps', '--mount', 'sh', '-c', steps, this.root, ...argv], environment);
  }
}

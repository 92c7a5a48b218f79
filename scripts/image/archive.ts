// Writes a folder as an image of one layer, in the format of `docker save`, which docker, podman, buildah, skopeo and containerd read:
//
//   node scripts/image/archive.ts ROOT ARCHIVE CONFIG NAME...
//
//   CONFIG   JSON: { created, config: { Entrypoint, User, Labels, … } }, as the OCI image specification has it
//   NAME     the image's names with their tags: registry.example.com/kpeering/init:1.0
//
// The same files and the same CONFIG make the same image.
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { createReadStream, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { z } from 'zod';

const choice = z.object({ created: z.iso.datetime(), config: z.record(z.string(), z.unknown()) });
const [root, archive, configuration, ...names] = process.argv.slice(2);
if (root === undefined || archive === undefined || configuration === undefined || names.length === 0)
  throw new Error('usage: archive.ts ROOT ARCHIVE CONFIG NAME...');
const { created, config } = choice.parse(JSON.parse(configuration));

const stage = mkdtempSync(join(dirname(archive), '.stage-'));
try {
  pack(root, join(stage, 'layer.tar'), '.');
  const digest = createHash('sha256');
  await pipeline(createReadStream(join(stage, 'layer.tar')), digest);
  const image = {
    created,
    architecture: { x64: 'amd64', ia32: '386' }[process.arch as string] ?? process.arch,
    os: 'linux',
    config: { Env: ['PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'], ...config },
    rootfs: { type: 'layers', diff_ids: [`sha256:${digest.digest('hex')}`] },
    history: [{ created, created_by: 'scripts/images' }],
  };
  writeFileSync(join(stage, 'config.json'), JSON.stringify(image));
  writeFileSync(join(stage, 'manifest.json'), JSON.stringify([{ Config: 'config.json', RepoTags: names, Layers: ['layer.tar'] }]));
  pack(stage, join(stage, 'archive'), 'manifest.json', 'config.json', 'layer.tar');
  renameSync(join(stage, 'archive'), archive);
} finally {
  rmSync(stage, { recursive: true, force: true });
}

function pack(folder: string, to: string, ...files: readonly string[]): void {
  const same = ['--sort=name', `--mtime=${created}`, '--numeric-owner', '--owner=0', '--group=0', '--format=gnu'];
  execFileSync('tar', ['-C', folder, ...same, '-cf', to, ...files], { stdio: ['ignore', 'ignore', 'inherit'] });
}

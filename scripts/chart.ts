// Writes the Helm chart, deploy/chart, from its definition in src/operator/manifests: node scripts/chart.ts
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { chartFiles } from '../src/operator/manifests/index.ts';

const folder = fileURLToPath(new URL('../deploy/chart', import.meta.url));
rmSync(folder, { recursive: true, force: true });
for (const [name, content] of chartFiles()) {
  const path = join(folder, name);
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, content);
}

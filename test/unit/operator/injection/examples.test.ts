import { readFileSync } from 'node:fs';
import test from 'ava';
import { parseAllDocuments } from 'yaml';
import { z } from 'zod';
import { injected } from './stage.ts';

const containerSchema = z.looseObject({
  name: z.string(),
  readinessProbe: z.looseObject({ tcpSocket: z.object({ port: z.number() }) }).optional(),
});
const workloadSchema = z.looseObject({
  kind: z.literal('Deployment'),
  metadata: z.looseObject({ name: z.string() }),
  spec: z.looseObject({
    template: z.looseObject({
      metadata: z.looseObject({ labels: z.record(z.string(), z.string()) }),
      spec: z.looseObject({
        initContainers: z.array(
          z.looseObject({ name: z.string(), env: z.array(z.looseObject({ name: z.string(), value: z.string().optional() })) }),
        ),
        containers: z.array(containerSchema),
      }),
    }),
  }),
});

for (const file of ['by-hand.yaml']) {
  const text = readFileSync(new URL(`../../../../deploy/examples/${file}`, import.meta.url), 'utf8');
  for (const document of parseAllDocuments(text)) {
    const parsed = workloadSchema.safeParse(document.toJS());
    if (!parsed.success) continue;
    const { metadata, spec } = parsed.data;
    test(`injection puts into a pod what deploy/examples/${file} has written out for ${metadata.name}`, (t) => {
      const { template } = spec;
      const { initContainers, volumes: _, ...rest } = template.spec;
      const mode = initContainers.flatMap(({ env }) => env).find(({ name }) => name === 'KPEERING_MODE')?.value;
      const aliased = new Map([[15_400, aliasedPort(initContainers)]]);
      const given = {
        metadata: { labels: template.metadata.labels, annotations: mode === undefined ? {} : { 'kpeering.io/mode': mode } },
        spec: {
          ...rest,
          containers: rest.containers.map(({ readinessProbe, ...container }) => ({
            ...container,
            ...(readinessProbe === undefined
              ? {}
              : { readinessProbe: { ...readinessProbe, tcpSocket: { port: aliased.get(readinessProbe.tcpSocket.port) } } }),
          })),
        },
      };
      t.notDeepEqual(given.spec.containers, rest.containers);
      const changed = injected({ pod: given });
      t.deepEqual(changed.spec.initContainers, initContainers);
      t.deepEqual(changed.spec.containers, rest.containers);
      t.deepEqual(
        changed.spec.volumes.map(({ name }) => name),
        ['kpeering'],
      );
    });
  }
}

function aliasedPort(
  containers: readonly { readonly env: readonly { readonly name: string; readonly value?: string | undefined }[] }[],
): number {
  const aliases = containers.flatMap(({ env }) => env).find(({ name }) => name === 'KPEERING_PROBE_ALIASES')?.value ?? '';
  return Number(aliases.split(':')[1]);
}

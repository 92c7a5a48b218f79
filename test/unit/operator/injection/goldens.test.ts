import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import test from 'ava';
import { parseAllDocuments, stringify } from 'yaml';
import { z } from 'zod';
import { applyPatch } from '../../../../src/operator/injection/index.ts';
import { decide, settings } from './stage.ts';

/**
 * Whole pods, before and after: pods/CASE/given.yaml is a namespace and a pod as the API server hands it to a webhook (and, where it
 * matters, the operator's settings); pods/CASE/patched.yaml the pod as the patch makes it. After a wanted change write those anew, and
 * read the diff:
 *
 *     KPEERING_GOLDENS=write npx ava test/unit/operator/injection/goldens.test.ts
 */
const folder = fileURLToPath(new URL('pods/', import.meta.url));

const strings = z.record(z.string(), z.string());
const namespaceSchema = z.object({
  kind: z.literal('Namespace'),
  metadata: z.object({ name: z.string(), labels: strings.default({}), annotations: strings.default({}) }),
});
const settingsSchema = z.strictObject({ nativeSidecars: z.boolean().optional(), defaults: strings.optional() });

function documentsOf(file: string): readonly unknown[] {
  return parseAllDocuments(readFileSync(file, 'utf8')).map((document) => {
    const value: unknown = document.toJS();
    return value;
  });
}

for (const name of readdirSync(folder).sort()) {
  test(`a whole pod: ${name}`, (t) => {
    const [first, pod, changedSettings = {}] = documentsOf(`${folder}${name}/given.yaml`);
    const { metadata } = namespaceSchema.parse(first);
    const { nativeSidecars = settings.nativeSidecars, defaults = settings.defaults } = settingsSchema.parse(changedSettings);
    const stage = { namespace: metadata, settings: { nativeSidecars, defaults } };
    const decision = decide({ pod, ...stage });
    const patched = 'patch' in decision ? applyPatch(pod, decision.patch) : pod;
    const file = `${folder}${name}/patched.yaml`;
    if (process.env['KPEERING_GOLDENS'] === 'write') writeFileSync(file, stringify(patched, { lineWidth: 0, singleQuote: true }));
    t.true(existsSync(file), 'KPEERING_GOLDENS=write makes it');
    t.deepEqual(patched, documentsOf(file)[0]);
    // As the API server would call again, had another webhook changed something.
    const again = decide({ pod: patched, ...stage });
    if (decision.kind === 'injected') t.deepEqual(again, { kind: 'unchanged' });
    else if ('patch' in again) t.deepEqual(again.patch, []);
  });
}

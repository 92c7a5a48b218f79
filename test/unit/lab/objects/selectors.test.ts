import test from 'ava';
import { plainSchema } from '../../../../src/lab/objects/schemas.ts';
import { parseFieldSelector, parseLabelSelector, selects, SelectorError } from '../../../../src/lab/objects/selectors.ts';

const object = plainSchema.parse({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name: 'web', labels: { app: 'web', tier: 'front' } },
  status: { phase: 'Running' },
});

const labels: readonly (readonly [string, boolean])[] = [
  ['', true],
  ['app=web', true],
  ['app==web,tier=front', true],
  ['app!=web', false],
  ['other!=x', true],
  ['app in (api, web)', true],
  ['app notin (api,web)', false],
  ['other notin (x)', true],
  ['app,!other', true],
  ['!app', false],
];
for (const [selector, expected] of labels) {
  test(`label selector "${selector}"`, (t) => t.is(parseLabelSelector(selector)(object), expected));
}

test('a label selector that is none is refused', (t) => {
  t.throws(() => parseLabelSelector('a=b=c'), { instanceOf: SelectorError });
});

test('field selectors compare a path', (t) => {
  t.true(parseFieldSelector('metadata.name=web,status.phase!=Failed')(object));
  t.false(parseFieldSelector('metadata.name=api')(object));
});

test("a workload's selector: all of its labels and expressions", (t) => {
  const expression = { key: 'app', operator: 'In', values: ['web'] } as const;
  t.true(selects({ matchLabels: { tier: 'front' }, matchExpressions: [{ ...expression, values: ['web'] }] }, object.metadata.labels));
  t.false(selects({ matchLabels: { tier: 'back' }, matchExpressions: [] }, object.metadata.labels));
});

import { readFileSync } from 'node:fs';
import test from 'ava';
import { developerFeatures, gatewayUserRules, userRules, type Rule } from '../../../../src/operator/manifests/index.ts';
import { mergeRules } from '../../../../src/operator/manifests/developer-rights.ts';

const document = readFileSync(new URL('../../../../docs/rights.md', import.meta.url), 'utf8');

/** `pods, services: get, list` */
function lineOf({ apiGroups: [group = ''], resources, verbs }: Rule): string {
  return `${resources.map((resource) => (group === '' ? resource : `${resource}.${group}`)).join(', ')}: ${verbs.join(', ')}`;
}

/** The lines of the first or second table of features: `FEATURE | RESOURCES: VERBS`. */
function tables(): string[][] {
  return document
    .split(/^\| feature .*\n\|[- |]*\n/m)
    .slice(1)
    .map((text) => {
      let feature = '';
      const rows = text
        .slice(0, text.search(/^(?!\|)/m))
        .trim()
        .split('\n');
      return rows.map((row) => {
        const [name = '', resources = '', verbs = ''] = row
          .split('|')
          .slice(1)
          .map((cell) => cell.trim().replaceAll('`', ''));
        if (name !== '') feature = name;
        return `${feature} | ${resources}: ${verbs}`;
      });
    });
}

test("docs/rights.md has the developers' rights, feature by feature", (t) => {
  const expected = developerFeatures.flatMap(({ name, rules }) => rules.map((rule) => `${name} | ${lineOf(rule)}`));
  t.deepEqual(tables()[0], expected);
});

test("docs/rights.md has the rights in kpeering's own namespace", (t) => {
  const rows = tables()[1] ?? [];
  t.deepEqual(
    rows.slice(0, -1).map((row) => row.split(' | ')[1]),
    gatewayUserRules.map((rule) => lineOf(rule)),
  );
  const [named] = userRules.slice(gatewayUserRules.length);
  t.is(rows.at(-1), `doctor, ephemeral | deployments.apps (${named?.resourceNames?.join(' and ')} only): get`);
});

test('rules are merged: each resource once, with all its verbs', (t) => {
  const merged = mergeRules([
    { apiGroups: [''], resources: ['pods', 'services'], verbs: ['watch', 'get'] },
    { apiGroups: ['apps'], resources: ['deployments'], verbs: ['get'] },
    { apiGroups: [''], resources: ['pods'], verbs: ['create', 'get'] },
    { apiGroups: [''], resources: ['secrets'], verbs: ['get', 'watch'] },
  ]);
  t.deepEqual(merged, [
    { apiGroups: [''], resources: ['pods'], verbs: ['get', 'watch', 'create'] },
    { apiGroups: [''], resources: ['services', 'secrets'], verbs: ['get', 'watch'] },
    { apiGroups: ['apps'], resources: ['deployments'], verbs: ['get'] },
  ]);
});

import test from 'ava';
import { evaluate, jsonText, type Release } from '../../../../src/operator/manifests/evaluate.ts';
import {
  choice,
  each,
  element,
  json,
  namespace,
  text,
  union,
  value,
  when,
  type Tree,
} from '../../../../src/operator/manifests/expressions.ts';
import { helmTemplate } from '../../../../src/operator/manifests/helm-template.ts';
import { parseValues, type GivenValues } from '../../../../src/operator/manifests/index.ts';

function release(values: GivenValues = {}): Release {
  return { namespace: 'ours', manager: 'kpctl', values: parseValues(values) };
}

const image = choice(value('registry'), text`${value('registry')}/${value('images.init')}`, value('images.init'));

/** What is written, with what, and what comes of it in both ways. */
const forms: readonly {
  readonly what: string;
  readonly tree: Tree;
  readonly values?: GivenValues;
  readonly data: unknown;
  readonly template: string;
}[] = [
  {
    what: 'values, texts and the namespace',
    tree: { replicas: value('operator.replicas'), where: text`${namespace}.svc`, plain: 'a b', quoted: 'no', number: 5, list: [] },
    data: { replicas: 2, where: 'ours.svc', plain: 'a b', quoted: 'no', number: 5, list: [] },
    template:
      'replicas: {{ toJson .Values.operator.replicas }}\nwhere: {{ toJson (printf "%s.svc" .Release.Namespace) }}\nplain: a b\nquoted: "no"\nnumber: 5\nlist: []\n',
  },
  {
    what: 'a choice',
    tree: { image },
    values: { registry: 'r.example/team', images: { init: 'a/init:1' } },
    data: { image: 'r.example/team/a/init:1' },
    template:
      'image: {{ toJson (ternary (printf "%s/%s" .Values.registry .Values.images.init) .Values.images.init (not (empty .Values.registry))) }}\n',
  },
  {
    what: 'entries that are there on a condition only, in maps and in lists',
    tree: { a: when(value('registry'), 'x'), list: [when(value('gateway.enabled'), { b: 1 }), 'c'] },
    data: { list: [{ b: 1 }, 'c'] },
    template: '{{- if .Values.registry }}\na: x\n{{- end }}\nlist:\n  {{- if .Values.gateway.enabled }}\n  - b: 1\n  {{- end }}\n  - c\n',
  },
  {
    what: 'an entry for each one of a list',
    tree: { secrets: each(value('imagePullSecrets'), { name: element }) },
    values: { imagePullSecrets: ['one', 'two'] },
    data: { secrets: [{ name: 'one' }, { name: 'two' }] },
    template: 'secrets:\n  {{- range .Values.imagePullSecrets }}\n  - name: {{ toJson . }}\n  {{- end }}\n',
  },
  {
    what: 'lists joined, each entry once',
    tree: { values: union(['kube-system', namespace], value('injection.excludedNamespaces')) },
    values: { injection: { excludedNamespaces: ['ours', 'theirs'] } },
    data: { values: ['kube-system', 'ours', 'theirs'] },
    template: 'values: {{ toJson (uniq (concat (list "kube-system" .Release.Namespace) .Values.injection.excludedNamespaces)) }}\n',
  },
];

for (const { what, tree, values, data, template } of forms) {
  test(`${what}: as data, and as Helm's template`, (t) => {
    t.deepEqual(evaluate(tree, release(values)), data);
    t.is(helmTemplate(tree), template);
  });
}

test('JSON as a text is written as Go writes it, so that kpctl and Helm make the same Deployment', (t) => {
  t.is(jsonText({ b: [1, '<&>'], aB: true, a: {} }), '{"a":{},"aB":true,"b":[1,"\\u003c\\u0026\\u003e"]}');
  const tree = { env: json({ z: value('logLevel'), a: [value('pullPolicy')] }) };
  t.deepEqual(evaluate(tree, release()), { env: '{"a":["IfNotPresent"],"z":"info"}' });
  t.is(helmTemplate(tree), 'env: {{ toJson (toJson (dict "z" .Values.logLevel "a" (list .Values.pullPolicy))) }}\n');
});

test('a whole object that is there on a condition only', (t) => {
  const tree = when(value('gateway.enabled'), { kind: 'Role' });
  t.is(evaluate(tree, release({ gateway: { enabled: false } })), undefined);
  t.is(helmTemplate(tree), '{{- if .Values.gateway.enabled }}\nkind: Role\n{{- end }}\n');
});

test('what Helm would take for its own is refused', (t) => {
  t.throws(() => helmTemplate({ a: 'x {{ y }}' }));
  t.throws(() => helmTemplate([{ a: when(value('registry'), 1), b: 2 }]));
});

import test from 'ava';
import { applyPatch, pointer, type JsonPatch } from '../../../../src/operator/injection/json-patch.ts';

// RFC 6902, appendix A, as far as its operations are ours.
const examples: readonly (readonly [string, unknown, JsonPatch, unknown])[] = [
  ['A.1 an object member', { foo: 'bar' }, [{ op: 'add', path: '/baz', value: 'qux' }], { baz: 'qux', foo: 'bar' }],
  ['A.2 an array element', { foo: ['bar', 'baz'] }, [{ op: 'add', path: '/foo/1', value: 'qux' }], { foo: ['bar', 'qux', 'baz'] }],
  ['A.3 removing a member', { baz: 'qux', foo: 'bar' }, [{ op: 'remove', path: '/baz' }], { foo: 'bar' }],
  ['A.4 removing an element', { foo: ['bar', 'qux', 'baz'] }, [{ op: 'remove', path: '/foo/1' }], { foo: ['bar', 'baz'] }],
  ['A.5 replacing a value', { baz: 'qux', foo: 'bar' }, [{ op: 'replace', path: '/baz', value: 'boo' }], { baz: 'boo', foo: 'bar' }],
  [
    'A.10 a nested object',
    { foo: 'bar' },
    [{ op: 'add', path: '/child', value: { grandchild: {} } }],
    { foo: 'bar', child: { grandchild: {} } },
  ],
  ['A.14 escapes', { '/': 9, '~1': 10 }, [{ op: 'replace', path: '/~01', value: 11 }], { '/': 9, '~1': 11 }],
  ['A.16 the end of an array', { foo: ['bar'] }, [{ op: 'add', path: '/foo/-', value: ['abc'] }], { foo: ['bar', ['abc']] }],
  ['4.1 a member that is there', { foo: null }, [{ op: 'add', path: '/foo', value: [] }], { foo: [] }],
  ['4.1 the whole document', { foo: 1 }, [{ op: 'add', path: '', value: [] }], []],
];

for (const [name, document, patch, expected] of examples) {
  test(`RFC 6902: ${name}`, (t) => {
    const before = structuredClone(document);
    t.deepEqual(applyPatch(document, patch), expected);
    t.deepEqual(document, before);
  });
}

for (const [name, patch] of [
  ['no parent', [{ op: 'add', path: '/baz/bat', value: 1 }]],
  ['no member to replace', [{ op: 'replace', path: '/baz', value: 1 }]],
  ['no member to remove', [{ op: 'remove', path: '/baz' }]],
  ['past the end', [{ op: 'add', path: '/foo/2', value: 1 }]],
  ['a leading zero', [{ op: 'add', path: '/foo/00', value: 1 }]],
  ['no pointer', [{ op: 'add', path: 'foo', value: 1 }]],
  ['inherited members', [{ op: 'replace', path: '/toString', value: 1 }]],
] satisfies readonly (readonly [string, JsonPatch])[]) {
  test(`an operation that does not fit is refused: ${name}`, (t) => {
    t.throws(() => applyPatch({ foo: ['bar'] }, patch));
  });
}

test('a member may have any name', (t) => {
  const changed = applyPatch({}, [{ op: 'add', path: '/__proto__', value: 1 }]);
  t.deepEqual(Object.entries(changed ?? {}), [['__proto__', 1]]);
});

test('what a patch puts in is not shared with the patch', (t) => {
  const value = { list: [1] };
  const changed = applyPatch({}, [
    { op: 'add', path: '/one', value },
    { op: 'add', path: '/one/list/-', value: 2 },
  ]);
  t.deepEqual(changed, { one: { list: [1, 2] } });
  t.deepEqual(value, { list: [1] });
});

test('what is in two places of a document is changed in one', (t) => {
  const shared = { port: 1 };
  t.deepEqual(applyPatch({ one: shared, other: shared }, [{ op: 'replace', path: '/one/port', value: 2 }]), {
    one: { port: 2 },
    other: { port: 1 },
  });
});

test('a pointer escapes what has a meaning in it', (t) => {
  t.is(pointer('metadata', 'labels', 'kpeering.io/a~b', 0), '/metadata/labels/kpeering.io~1a~0b/0');
});

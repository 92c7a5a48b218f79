import test from 'ava';
import { readlinkSync } from 'node:fs';
import { additions, processesIn } from '../../../../src/kpctl/demo/leftovers.ts';

const state = (kinds: Readonly<Record<string, string[]>>): ReadonlyMap<string, string[]> => new Map(Object.entries(kinds));

test('what has come is named by its kind; order, and what has gone, do not count', (t) => {
  const before = state({ link: ['lo', 'eth0'], file: [] });
  t.deepEqual(additions(before, state({ link: ['eth0', 'lo'], file: [] })), []);
  t.deepEqual(additions(before, state({ link: ['lo'], file: [] })), []);
  t.deepEqual(additions(before, state({ link: ['lo', 'pods'], file: ['demo.sock'] })), ['link: pods', 'file: demo.sock']);
});

test('processes of a PID namespace are found by its name', (t) => {
  const own = processesIn(readlinkSync('/proc/self/ns/pid'));
  t.true(own.some((line) => line.startsWith(`process: ${process.pid} `)));
  t.deepEqual(processesIn('pid:[1]'), []);
});

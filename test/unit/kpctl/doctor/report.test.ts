import test from 'ava';
import { NOT_REACHED, ok, problem, unknown, warning, type Finding } from '../../../../src/kpctl/doctor/finding.ts';
import { reportLines } from '../../../../src/kpctl/doctor/report.ts';
import { runChecks, type Check } from '../../../../src/kpctl/doctor/run-checks.ts';
import { Failure } from '../../../../src/platform/errors.ts';

const check = (id: string, look: Check<string>['look']): Check<string> => ({ id, look });

test('checks run at once, each to its deadline, and one that fails spoils no other', async (t) => {
  const ended: (readonly string[])[] = [];
  const found = await runChecks(
    [
      check('never', () => new Promise(() => undefined)),
      check('good', (into) => Promise.resolve([ok(into)])),
      check('forbidden', () => Promise.reject(new Failure('API_FORBIDDEN', 'may not', { remedy: 'ask' }))),
      check('bug', () => Promise.reject(new TypeError('x is undefined'))),
    ],
    'all is well',
    { milliseconds: 100, onEnded: (left) => ended.push(left) },
  );
  t.deepEqual(found, [
    { check: 'never', verdict: 'unknown', seen: 'no answer in time' },
    { check: 'good', verdict: 'ok', seen: 'all is well' },
    { check: 'forbidden', verdict: 'unknown', seen: 'may not [API_FORBIDDEN]', fix: 'ask' },
    { check: 'bug', verdict: 'unknown', seen: 'this check has a bug, please report it: x is undefined' },
  ]);
  t.deepEqual(ended.at(-1), []);
});

test('Ctrl-C ends it at once', async (t) => {
  const interrupted = new AbortController();
  const running = runChecks([check('never', () => new Promise(() => undefined))], '', { milliseconds: 60_000, signal: interrupted.signal });
  interrupted.abort(new Error('interrupted'));
  await t.throwsAsync(running, { message: 'interrupted' });
});

const findings: readonly Finding[] = [
  { check: 'api', ...problem('it is down', 'start it\nand wait') },
  { check: 'sidecars', ...ok('it answers', 'pod web-1') },
  { check: 'sidecars', ...ok('it answers', 'pod web-2') },
  { check: 'sidecars', ...ok('it answers', 'pod web-3') },
  { check: 'sidecars', ...ok('it answers', 'pod web-4') },
  { check: 'capture', ...warning('odd\u001B[2J', 'look') },
  { check: 'rights', ...unknown(NOT_REACHED) },
  { check: 'names', ...unknown(NOT_REACHED) },
];

test('the report is aligned, a line for each finding, with what to do under it', (t) => {
  t.deepEqual(reportLines(findings, false), [
    'problem  api       it is down',
    '                   → start it',
    '                     and wait',
    'ok       sidecars  pod web-1, web-2, web-3 and 1 more: it answers',
    'warning  capture   odd\u{fffd}[2J',
    '                   → look',
    'unknown  others    not looked at: the API server does not answer (rights, names)',
    '',
    '4 ok, 1 warning, 1 problem, 2 unknown',
  ]);
});

test('colours are for terminals', (t) => {
  t.is(reportLines(findings, true)[0], '\u001B[31mproblem\u001B[0m  api       it is down');
  t.false(reportLines(findings, false).join('').includes('\u001B'));
});

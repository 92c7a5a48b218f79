import test from 'ava';
import { z } from 'zod';
import { createLogger } from '../../../src/platform/log.ts';

function recorded(level: string) {
  const lines: string[] = [];
  return { log: createLogger('test', level, (line) => lines.push(line)), lines };
}

test('a line is JSON: level, time, name, fields, message', (t) => {
  const { log, lines } = recorded('info');
  log.info({ port: 1, big: 2n }, 'listens');
  log.warn('only words');
  log.error({ nothing: 'else' });
  t.true(lines.every((line) => line.endsWith('\n') && line.indexOf('\n') === line.length - 1));
  const parsed = lines.map((line) => z.looseObject({ time: z.number() }).parse(JSON.parse(line)));
  t.true(parsed.every(({ time }) => Math.abs(time - Date.now()) < 60_000));
  t.deepEqual(
    parsed.map((line) => ({ ...line, time: undefined })),
    [
      { level: 30, time: undefined, name: 'test', port: 1, big: '2', msg: 'listens' },
      { level: 40, time: undefined, name: 'test', msg: 'only words' },
      { level: 50, time: undefined, name: 'test', nothing: 'else' },
    ],
  );
});

test('what is below the level is left out; a word that is no level means info', (t) => {
  for (const [level, expected] of [
    ['warn', 3],
    ['trace', 6],
    ['silent', 0],
    ['nonsense', 4],
    ['toString', 4],
  ] as const) {
    const { log, lines } = recorded(level);
    for (const write of [log.trace, log.debug, log.info, log.warn, log.error, log.fatal]) write('said');
    t.is(lines.length, expected, level);
  }
});

test('an error is written with its stack, its code and its causes', (t) => {
  const { log, lines } = recorded('info');
  log.error({ err: Object.assign(new TypeError('outer', { cause: new Error('inner') }), { code: 'EX' }) }, 'failed');
  const { err } = z
    .object({
      err: z.object({
        type: z.string(),
        message: z.string(),
        stack: z.string(),
        code: z.string(),
        cause: z.object({ message: z.string() }),
      }),
    })
    .parse(JSON.parse(lines[0] ?? ''));
  t.deepEqual([err.type, err.message, err.code, err.cause.message], ['TypeError', 'outer', 'EX', 'inner']);
  t.regex(err.stack, /log\.test/u);
});

test('what cannot be written as JSON costs the fields, not the message', (t) => {
  const { log, lines } = recorded('info');
  const circle: { self?: object } = {};
  circle.self = circle;
  log.info({ circle }, 'round');
  t.like(JSON.parse(lines[0] ?? ''), { level: 30, name: 'test', msg: 'round' });
});

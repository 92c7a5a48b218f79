import test from 'ava';
import { InvalidArgumentError } from 'commander';
import { outputFormat, parsePortMapping } from '../../../src/kpctl/options.ts';

test('[LOCAL:]REMOTE as kubectl port-forward orders it', (t) => {
  t.deepEqual(parsePortMapping('80'), [{ local: undefined, remote: '80' }]);
  t.deepEqual(parsePortMapping('3000:80'), [{ local: 3000, remote: '80' }]);
  t.deepEqual(parsePortMapping('3000:http'), [{ local: 3000, remote: 'http' }]);
  t.deepEqual(parsePortMapping('http-alt'), [{ local: undefined, remote: 'http-alt' }]);
  t.deepEqual(parsePortMapping('1:65535'), [{ local: 1, remote: '65535' }]);
});

test('a repeated --port is collected in order', (t) => {
  const first = parsePortMapping('3000:80');
  t.deepEqual(parsePortMapping('9090', first), [...first, { local: undefined, remote: '9090' }]);
  t.is(first.length, 1);
});

for (const wrong of ['', ':', '80:', '0', '0:80', '65536', '70000:80', '-1', '1:2:3', 'x:80', 'h ttp', '-http', 'a'.repeat(64), '٣']) {
  test(`${JSON.stringify(wrong)} is no port mapping`, (t) => {
    t.throws(() => parsePortMapping(wrong), { instanceOf: InvalidArgumentError });
  });
}

test('-o is text unless it is json or yaml', (t) => {
  t.is(outputFormat({}), 'text');
  t.is(outputFormat({ output: 'json' }), 'json');
  t.is(outputFormat({ output: 'yaml' }), 'yaml');
});

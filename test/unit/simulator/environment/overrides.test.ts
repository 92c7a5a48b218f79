import test from 'ava';
import { overrideEnvironment } from '../../../../src/simulator/environment/index.ts';

test('files come first, then what is unset, then what is set; $(NAME) is a variable of the container', (t) => {
  const environment = [
    ['PATH', '/bin'],
    ['A', 'container'],
    ['B', 'container'],
    ['C', 'container'],
  ] as const;
  const files = [
    new Map([
      ['A', 'first file'],
      ['D', '$(B)'],
    ]),
    new Map([['A', 'second file']]),
  ];
  const set = [
    ['C', 'set $(B) $(PATH) $$(B)'],
    ['E', '$(C)'],
  ] as const;
  const overridden = overrideEnvironment(environment, { files, unset: ['B', 'none'], set }, new Map([['B', 'container']]));
  t.deepEqual(Object.fromEntries(overridden), {
    PATH: '/bin',
    A: 'second file',
    C: 'set container $(PATH) $(B)',
    D: '$(B)',
    E: 'set container $(PATH) $(B)',
  });
});

import test from 'ava';
import { formatAliases, parseAliases } from '../../../../src/operator/injection/probes.ts';
import { decide, injected, pod, variablesOf, type Stage } from './stage.ts';

const aliasesOf = (stage: Stage): string | undefined => variablesOf(injected(stage), 'kpeering-init')['KPEERING_PROBE_ALIASES'];

test('every kind of network probe and hook is sent to an alias, one for each port', (t) => {
  const stage = {
    pod: pod({
      spec: {
        containers: [
          {
            name: 'web',
            ports: [
              { name: 'http', containerPort: 8080 },
              { name: 'grpc', containerPort: 9000 },
            ],
            startupProbe: { tcpSocket: { port: 8080 }, periodSeconds: 1 },
            livenessProbe: { grpc: { port: 9000, service: 'health' }, timeoutSeconds: 2 },
            readinessProbe: { httpGet: { path: '/ready', port: 'http', scheme: 'HTTPS', httpHeaders: [{ name: 'a', value: 'b' }] } },
            lifecycle: {
              postStart: { httpGet: { path: '/warm', port: 'http' } },
              preStop: { httpGet: { path: '/stop', port: 8080 } },
            },
          },
        ],
      },
    }),
  };
  const web = injected(stage).spec.containers[0];
  t.like(web, {
    startupProbe: { tcpSocket: { port: 15_400 }, periodSeconds: 1 },
    livenessProbe: { grpc: { port: 15_401, service: 'health' }, timeoutSeconds: 2 },
    readinessProbe: { httpGet: { path: '/ready', port: 15_400, scheme: 'HTTPS', httpHeaders: [{ name: 'a', value: 'b' }] } },
    lifecycle: {
      postStart: { httpGet: { path: '/warm', port: 15_400 } },
      preStop: { httpGet: { path: '/stop', port: 15_400 } },
    },
  });
  t.is(aliasesOf(stage), '15400:8080,15401:9000');
});

test('probes of every container and native sidecar are rewritten, each with the names of its own ports', (t) => {
  const probe = { readinessProbe: { httpGet: { path: '/', port: 'http' } } };
  const { spec } = injected({
    pod: pod({
      spec: {
        containers: [
          { name: 'web', ports: [{ name: 'http', containerPort: 8080 }], ...probe },
          { name: 'admin', ports: [{ name: 'http', containerPort: 9090 }], ...probe },
        ],
        initContainers: [{ name: 'proxy', restartPolicy: 'Always', ports: [{ name: 'http', containerPort: 7000 }], ...probe }],
      },
    }),
  });
  const portOf = (alias: number): object => ({ httpGet: { path: '/', port: alias } });
  t.deepEqual(
    [...spec.containers, ...spec.initContainers].map(({ name, readinessProbe }) => [name, readinessProbe]),
    [
      ['web', portOf(15_400)],
      ['admin', portOf(15_401)],
      ['kpeering-init', undefined],
      ['kpeering', undefined],
      ['proxy', portOf(15_402)],
    ],
  );
});

for (const [name, container, annotations] of [
  ['a command', { readinessProbe: { exec: { command: ['true'] } } }, {}],
  ['another host', { readinessProbe: { httpGet: { host: '10.0.0.1', path: '/', port: 8080 } } }, {}],
  ['a port that is not captured', { readinessProbe: { tcpSocket: { port: 9999 } } }, {}],
  ['a port that is excluded', { readinessProbe: { tcpSocket: { port: 8080 } } }, { 'kpeering.io/exclude-inbound-ports': '8000-8100' }],
  ['a name that the container does not declare', { readinessProbe: { httpGet: { path: '/', port: 'metrics' } } }, {}],
] as const) {
  test(`a probe stays as it is: ${name}`, (t) => {
    const stage = { pod: pod({ container, annotations }) };
    t.deepEqual(injected(stage).spec.containers[0]?.readinessProbe, container.readinessProbe);
    t.is(aliasesOf(stage), undefined);
  });
}

test('where all ports are captured, so is that of a probe that nobody declares', (t) => {
  const container = { ports: [], livenessProbe: { tcpSocket: { port: 3000 } } };
  t.is(aliasesOf({ pod: pod({ container }) }), '15400:3000');
});

test('a range of captured ports has the probes in it', (t) => {
  const container = { livenessProbe: { tcpSocket: { port: 3000 } }, readinessProbe: { tcpSocket: { port: 3001 } } };
  t.is(aliasesOf({ pod: pod({ container, annotations: { 'kpeering.io/inbound-ports': '2000-3000' } }) }), '15400:3000');
});

test('a hundred probed ports have an alias each', (t) => {
  const containers = Array.from({ length: 100 }, (_, index) => ({
    name: `c${index}`,
    ports: [{ containerPort: 2000 + index }],
    readinessProbe: { tcpSocket: { port: 2000 + index } },
  }));
  const aliases = aliasesOf({ pod: pod({ spec: { containers } }) })?.split(',') ?? [];
  t.is(aliases.length, 100);
  t.is(aliases.at(-1), '15499:2099');
  t.is(decide({ pod: injected({ pod: pod({ spec: { containers } }) }) }).kind, 'unchanged');
});

test('aliases are read as they are written', (t) => {
  const aliases = new Map([
    [15_400, 8080],
    [15_402, 9000],
  ]);
  t.deepEqual(parseAliases(formatAliases(aliases)), aliases);
  t.deepEqual(parseAliases(''), new Map());
  t.deepEqual(parseAliases('15400:1,x:2,15401'), new Map([[15_400, 1]]));
});

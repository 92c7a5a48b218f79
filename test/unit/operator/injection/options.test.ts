import { readFileSync } from 'node:fs';
import test from 'ava';
import { optionNames, type OptionName } from '../../../../src/operator/injection/index.ts';
import { decide, injected, pod, variablesOf, type Stage } from './stage.ts';

/** Of each option, a value that is not its default. */
const examples: Readonly<Record<OptionName, string>> = {
  mode: 'tproxy',
  'inbound-ports': '80',
  'exclude-inbound-ports': '81',
  'inbound-udp-ports': '53',
  outbound: 'disabled',
  'outbound-ports': '5432',
  'exclude-outbound-ports': '443',
  'outbound-cidrs': '10.0.0.0/8',
  'exclude-outbound-cidrs': 'fd00::/8',
  dns: 'enabled',
  'keep-source': 'enabled',
  'log-level': 'debug',
  'cpu-request': '10m',
  'cpu-limit': '1',
  'memory-request': '64Mi',
  'memory-limit': '128Mi',
};

for (const name of optionNames) {
  test(`kpeering.io/${name} changes what is injected, as an annotation of the pod or of the namespace and as a setting`, (t) => {
    const plain = injected().spec.initContainers;
    const annotations = { [`kpeering.io/${name}`]: examples[name] };
    const byPod = injected({ pod: pod({ annotations }) }).spec.initContainers;
    t.notDeepEqual(byPod, plain);
    t.deepEqual(injected({ namespace: { annotations } }).spec.initContainers, byPod);
    t.deepEqual(injected({ settings: { defaults: { [name]: examples[name] } } }).spec.initContainers, byPod);
  });
}

function variables(annotations: Readonly<Record<string, string>>, container = 'kpeering-init'): Readonly<Record<string, string>> {
  const prefixed = Object.fromEntries(Object.entries(annotations).map(([name, value]) => [`kpeering.io/${name}`, value]));
  return variablesOf(injected({ pod: pod({ annotations: prefixed }) }), container);
}

test('options become the variables of the init container', (t) => {
  t.deepEqual(
    variables({
      mode: 'tproxy',
      'inbound-ports': ' 80, 8000-8080\n443,80 ',
      'exclude-inbound-ports': '8001',
      'inbound-udp-ports': '53',
      'outbound-ports': '*',
      'exclude-outbound-ports': '443-443',
      'outbound-cidrs': '10.0.0.0/8 fd00::/8',
      'exclude-outbound-cidrs': '10.1.2.3',
      dns: 'enabled',
      'keep-source': 'enabled',
    }),
    {
      KPEERING_MODE: 'tproxy',
      KPEERING_INBOUND_PORTS: '80,8000-8080,443',
      KPEERING_EXCLUDE_INBOUND_PORTS: '8001',
      KPEERING_INBOUND_UDP_PORTS: '53',
      KPEERING_OUTBOUND_PORTS: '*',
      KPEERING_EXCLUDE_OUTBOUND_PORTS: '443',
      KPEERING_OUTBOUND_CIDRS: '10.0.0.0/8,fd00::/8',
      KPEERING_EXCLUDE_OUTBOUND_CIDRS: '10.1.2.3',
      KPEERING_DNS: '1',
      KPEERING_KEEP_SOURCE: '1',
      KPEERING_RULES_FILE: '/run/kpeering/rules.json',
    },
  );
});

test('what is at its default is not written into the pod', (t) => {
  const defaults = { mode: 'auto', dns: 'disabled', 'keep-source': 'disabled', outbound: 'enabled', 'outbound-ports': '' };
  t.deepEqual(variables(defaults), { KPEERING_INBOUND_PORTS: '8080', KPEERING_RULES_FILE: '/run/kpeering/rules.json' });
  t.deepEqual(variables(defaults, 'kpeering'), { KPEERING_RULES_FILE: '/run/kpeering/rules.json' });
});

test('the sidecar is told that no laptop may dial from its pod, and how much to log', (t) => {
  t.like(variables({ outbound: 'disabled', 'log-level': 'debug' }, 'kpeering'), { KPEERING_OUTBOUND: 'disabled', KPEERING_LOG: 'debug' });
});

test("the pod's annotation wins over the namespace's, and that over the operator's setting", (t) => {
  const stage: Stage = {
    pod: pod({ annotations: { 'kpeering.io/mode': 'tproxy' } }),
    namespace: { annotations: { 'kpeering.io/mode': 'nonsense', 'kpeering.io/outbound-ports': '1' } },
    settings: { defaults: { mode: 'redirect', 'outbound-ports': '2', 'exclude-inbound-ports': '3' } },
  };
  t.like(variablesOf(injected(stage), 'kpeering-init'), {
    KPEERING_MODE: 'tproxy',
    KPEERING_OUTBOUND_PORTS: '1',
    KPEERING_EXCLUDE_INBOUND_PORTS: '3',
  });
});

test('blanks around a value mean nothing', (t) => {
  t.is(variables({ mode: ' tproxy\n' })['KPEERING_MODE'], 'tproxy');
});

test("an empty list on the pod takes back its namespace's", (t) => {
  const stage: Stage = {
    pod: pod({ annotations: { 'kpeering.io/outbound-ports': '' } }),
    namespace: { annotations: { 'kpeering.io/outbound-ports': '5432' } },
  };
  t.is(variablesOf(injected(stage), 'kpeering-init')['KPEERING_OUTBOUND_PORTS'], undefined);
});

function refusal(stage: Stage): string {
  const decision = decide(stage);
  return decision.kind === 'left-alone' ? decision.reason.format() : decision.kind;
}

const refusalOf = (annotations: Readonly<Record<string, string>>): string =>
  refusal({
    pod: pod({ annotations: Object.fromEntries(Object.entries(annotations).map(([name, value]) => [`kpeering.io/${name}`, value])) }),
  });

for (const [annotations, says] of [
  [{ mode: 'TPROXY' }, 'kpeering.io/mode of the pod: "TPROXY" is not one of auto, redirect and tproxy'],
  [{ 'inbound-ports': '' }, 'kpeering.io/inbound-ports of the pod: is empty; give ports (80,8000-8080), or * for all'],
  [{ 'inbound-ports': '80,http' }, 'kpeering.io/inbound-ports of the pod: "http" is not a port or a range of ports (1 to 65535)'],
  [{ 'inbound-ports': '*,80' }, 'kpeering.io/inbound-ports of the pod: "*" is not a port or a range of ports (1 to 65535)'],
  [{ 'inbound-ports': '90-80' }, 'kpeering.io/inbound-ports of the pod: the range "90-80" ends before it begins'],
  [{ 'inbound-ports': '15400' }, 'kpeering.io/inbound-ports of the pod: "15400" is kpeering\'s own (docs/ports.md)'],
  [{ 'inbound-ports': '15400-15410' }, 'kpeering.io/inbound-ports of the pod: "15400-15410" is kpeering\'s own (docs/ports.md)'],
  [{ 'inbound-udp-ports': '15353' }, 'kpeering.io/inbound-udp-ports of the pod: "15353" is kpeering\'s own (docs/ports.md)'],
  [
    { 'inbound-udp-ports': '1000-1100' },
    'kpeering.io/inbound-udp-ports of the pod: has 101 ports; each needs a listener of its own, and there are 100',
  ],
  [
    { 'inbound-udp-ports': '1000-1050,1040-1090,1020-1030,2000,1000-1099' },
    'kpeering.io/inbound-udp-ports of the pod: has 101 ports; each needs a listener of its own, and there are 100',
  ],
  [
    { 'outbound-cidrs': '10.0.0.0/33' },
    'kpeering.io/outbound-cidrs of the pod: "10.0.0.0/33" is not an address or a network (10.0.0.0/8, fd00::/8)',
  ],
  [{ dns: '1' }, 'kpeering.io/dns of the pod: "1" is not one of enabled and disabled'],
  [{ outbound: 'off' }, 'kpeering.io/outbound of the pod: "off" is not one of enabled and disabled'],
  [{ 'cpu-request': '0' }, 'kpeering.io/cpu-request of the pod: "0" is not an amount of CPU (100m, 0.5)'],
  [{ 'cpu-limit': 'much' }, 'kpeering.io/cpu-limit of the pod: "much" is not an amount of CPU (100m, 0.5)'],
  [{ 'memory-limit': '128m' }, 'kpeering.io/memory-limit of the pod: "128m" is not an amount of memory (64Mi, 128M)'],
  [{ 'log-level': 'loud' }, 'kpeering.io/log-level of the pod: "loud" is not one of trace, debug, info, warn, error, fatal and silent'],
  [{ 'memory-request': '1Gi', 'memory-limit': '128Mi' }, 'kpeering.io/memory-request: 1Gi is more than kpeering.io/memory-limit, 128Mi'],
  [{ 'cpu-request': '2', 'cpu-limit': '500m' }, 'kpeering.io/cpu-request: 2 is more than kpeering.io/cpu-limit, 500m'],
  [
    { mode: 'redirect', 'inbound-udp-ports': '53' },
    'kpeering.io/inbound-udp-ports: UDP is captured in tproxy mode only, and kpeering.io/mode is redirect',
  ],
  [{ mode: 'redirect', 'keep-source': 'enabled' }, 'kpeering.io/keep-source: works in tproxy mode only, and kpeering.io/mode is redirect'],
  [{ 'inbond-ports': '80' }, 'kpeering.io/inbond-ports of the pod: there is no such option; did you mean kpeering.io/inbound-ports'],
  [{ xyzzy: '80' }, 'kpeering.io/xyzzy of the pod: there is no such option'],
  [{ inject: 'enabled' }, 'kpeering.io/inject of the pod: this is a label, not an annotation'],
] as const) {
  test(`reported: ${JSON.stringify(annotations)}`, (t) => {
    const text = refusalOf(annotations);
    t.true(text.startsWith(says), text);
    t.true(text.endsWith('[INJECT_OPTION]'), text);
  });
}

test('all that is wrong is reported at once', (t) => {
  const text = refusalOf({ mode: 'fast', dns: 'yes', typo: '' });
  for (const name of ['mode', 'dns', 'typo']) t.true(text.includes(`kpeering.io/${name} of the pod: `), text);
});

test('a wrong value says whose it is', (t) => {
  t.true(
    refusal({ namespace: { annotations: { 'kpeering.io/mode': 'fast' } } }).startsWith('kpeering.io/mode of the namespace shop: "fast"'),
  );
  t.true(refusal({ settings: { defaults: { mode: 'fast' } } }).startsWith('mode of the operator\'s settings: "fast"'));
});

test('a value that takes long to write out is judged all the same', (t) => {
  const ranges = Array.from({ length: 500 }, (_, index) => `${index + 1}-65535`).join();
  t.true(refusalOf({ 'inbound-udp-ports': ranges }).startsWith('kpeering.io/inbound-udp-ports of the pod: has 65535 ports'));
  t.is(variables({ 'inbound-ports': ranges })['KPEERING_INBOUND_PORTS'], ranges);
});

test('a range may have ports of ours in it, and annotations of others are not ours to judge', (t) => {
  t.is(variables({ 'inbound-ports': '15000-16000' })['KPEERING_INBOUND_PORTS'], '15000-16000');
  t.is(decide({ pod: pod({ annotations: { 'example.com/mode': 'fast', 'notkpeering.io/mode': 'fast' } }) }).kind, 'injected');
});

test('docs/injection.md lists every option, and no other', (t) => {
  const text = readFileSync(new URL('../../../../docs/injection.md', import.meta.url), 'utf8');
  const documented = [...text.matchAll(/^\| `kpeering\.io\/([a-z-]+)`/gmu)].map(([, name]) => name);
  t.deepEqual(documented, [...optionNames]);
});

test('a list of more entries than fit into a variable is a wrong value, and a long one keeps nobody waiting', (t) => {
  const list = (length: number): string => Array.from({ length }, (_, index) => 20_001 + index).join(',');
  const decision = decide({ pod: pod({ annotations: { 'kpeering.io/inbound-ports': list(40_000) } }) });
  if (decision.kind !== 'left-alone') return t.fail(decision.kind);
  t.is(decision.reason.code, 'INJECT_OPTION');
  t.true(decision.reason.message.includes('40000 entries'), decision.reason.message);
  t.is(decide({ pod: pod({ annotations: { 'kpeering.io/inbound-ports': list(500) } }) }).kind, 'injected');
});

test('thousands of declared ports and of probes are decided about at once', (t) => {
  const ports = Array.from({ length: 20_000 }, (_, index) => ({ containerPort: 20_001 + index }));
  const others = Array.from({ length: 3_000 }, (_, index) => ({ name: `c${index}`, readinessProbe: { tcpSocket: { port: 1 + index } } }));
  const began = performance.now();
  decide({ pod: pod({ spec: { containers: [{ name: 'web', ports }, ...others] } }) });
  t.true(performance.now() - began < 2_000);
});

import test from 'ava';
import { applyPatch } from '../../../../src/operator/injection/index.ts';
import { decide, injected, namespace, pod, settings, variablesOf, type Stage } from './stage.ts';

const gatewayed = { restartPolicy: 'Never' };

test('the init container and the native sidecar come before every other init container', (t) => {
  const { spec } = injected({ pod: pod({ spec: { initContainers: [{ name: 'migrate', image: 'web:1' }] } }) });
  t.deepEqual(
    spec.initContainers.map(({ name, restartPolicy }) => [name, restartPolicy]),
    [
      ['kpeering-init', undefined],
      ['kpeering', 'Always'],
      ['migrate', undefined],
    ],
  );
  t.deepEqual(
    spec.containers.map(({ name }) => name),
    ['web'],
  );
  t.deepEqual(
    spec.volumes.map(({ name }) => name),
    ['kpeering'],
  );
});

test('without native sidecars the sidecar is the last container, and the rules come after the other init containers', (t) => {
  const { spec } = injected({
    pod: pod({ spec: { initContainers: [{ name: 'migrate', image: 'web:1' }] } }),
    settings: { nativeSidecars: false },
  });
  t.deepEqual(
    spec.initContainers.map(({ name }) => name),
    ['migrate', 'kpeering-init'],
  );
  t.deepEqual(
    spec.containers.map(({ name, restartPolicy }) => [name, restartPolicy]),
    [
      ['web', undefined],
      ['kpeering', undefined],
    ],
  );
});

test('images and pull policy are those of the settings', (t) => {
  const { spec } = injected({ settings: { images: { init: 'mirror/init:2', sidecar: 'mirror/kpeering:2' }, pullPolicy: 'Always' } });
  t.deepEqual(
    spec.initContainers.map(({ image, imagePullPolicy }) => [image, imagePullPolicy]),
    [
      ['mirror/init:2', 'Always'],
      ['mirror/kpeering:2', 'Always'],
    ],
  );
});

test('lists and maps that a Go client wrote as null are made', (t) => {
  const given = {
    metadata: { creationTimestamp: null, labels: { 'kpeering.io/inject': 'enabled' }, annotations: null },
    spec: { containers: [{ name: 'web', image: 'web:1', ports: null, env: null }], initContainers: null, volumes: null },
  };
  const { spec } = injected({ pod: given });
  t.is(spec.initContainers.length, 2);
  t.is(spec.volumes.length, 1);
});

test('a pod template without metadata can be asked about', (t) => {
  const { metadata } = injected({ pod: { spec: { containers: [{ name: 'web' }] } } });
  t.deepEqual(metadata.labels, { 'kpeering.io/injected': 'true' });
});

test('everything that is not read is kept', (t) => {
  const given = pod({
    annotations: { team: 'a' },
    container: { command: ['x'], futureField: { deep: [1, null] } },
    spec: { topologySpreadConstraints: [{ maxSkew: 1 }], volumes: [{ name: 'data', emptyDir: {} }], futureField: true },
  });
  const changed = injected({ pod: given });
  t.like(changed, {
    metadata: { annotations: { team: 'a' } },
    spec: {
      futureField: true,
      topologySpreadConstraints: [{ maxSkew: 1 }],
      volumes: [{ name: 'data', emptyDir: {} }],
      containers: [{ command: ['x'], futureField: { deep: [1, null] } }],
    },
  });
});

test('the TCP ports that containers and native sidecars declare are captured, each once', (t) => {
  const changed = injected({
    pod: pod({
      spec: {
        containers: [
          {
            name: 'web',
            ports: [{ containerPort: 8080 }, { containerPort: 9090, protocol: 'TCP' }, { containerPort: 53, protocol: 'UDP' }],
          },
          { name: 'admin', ports: [{ containerPort: 9090 }, { containerPort: 132, protocol: 'SCTP' }] },
        ],
        initContainers: [
          { name: 'proxy', restartPolicy: 'Always', ports: [{ containerPort: 7000 }] },
          { name: 'migrate', ports: [{ containerPort: 6000 }] },
        ],
      },
    }),
  });
  t.like(variablesOf(changed, 'kpeering-init'), { KPEERING_INBOUND_PORTS: '8080,9090,7000', KPEERING_INBOUND_UDP_PORTS: '53' });
});

test('a pod that declares no TCP port has all of them captured', (t) => {
  const variables = variablesOf(injected({ pod: pod({ container: { ports: [] } }) }), 'kpeering-init');
  t.is(variables['KPEERING_INBOUND_PORTS'], '*');
  t.is(variables['KPEERING_INBOUND_UDP_PORTS'], undefined);
});

test('declared UDP ports are left out in redirect mode, and past the listeners that there are', (t) => {
  const udp = Array.from({ length: 120 }, (_, index) => ({ containerPort: 20_000 + index, protocol: 'UDP' }));
  const given = (annotations: Record<string, string>): unknown => pod({ annotations, container: { ports: udp } });
  const captured = variablesOf(injected({ pod: given({}) }), 'kpeering-init')['KPEERING_INBOUND_UDP_PORTS'];
  t.is(captured?.split(',').length, 100);
  const redirected = variablesOf(injected({ pod: given({ 'kpeering.io/mode': 'redirect' }) }), 'kpeering-init');
  t.is(redirected['KPEERING_INBOUND_UDP_PORTS'], undefined);
});

test('the pod is labelled as injected, for who watches injected pods', (t) => {
  t.is(injected().metadata.labels?.['kpeering.io/injected'], 'true');
});

for (const [name, spec] of [
  ['runAsNonRoot', { securityContext: { runAsNonRoot: true, runAsUser: 1000, runAsGroup: 1000, fsGroup: 2000 } }],
  ['nothing', {}],
] as const) {
  test(`users and capabilities are explicit, whatever the pod's own setting: ${name}`, (t) => {
    const { spec: changed } = injected({ pod: pod({ spec }) });
    const confined = { allowPrivilegeEscalation: false, readOnlyRootFilesystem: true };
    const root = { runAsUser: 0, runAsNonRoot: false, ...confined };
    t.deepEqual(
      changed.initContainers.map(({ securityContext }) => securityContext),
      [
        { ...root, capabilities: { drop: ['ALL'], add: ['NET_ADMIN', 'NET_RAW'] } },
        { ...root, runAsGroup: 15_300, capabilities: { drop: ['ALL'], add: ['NET_RAW'] } },
      ],
    );
    const redirected = injected({ pod: pod({ spec, annotations: { 'kpeering.io/mode': 'redirect' } }) });
    t.deepEqual(redirected.spec.initContainers[1]?.securityContext, {
      runAsUser: 15_300,
      runAsGroup: 15_300,
      runAsNonRoot: true,
      ...confined,
      capabilities: { drop: ['ALL'] },
    });
  });
}

const refusals: Readonly<Record<string, { readonly code: string; readonly says: RegExp; readonly stage: Stage }>> = {
  'a pod in the network of its node': {
    code: 'INJECT_HOST_NETWORK',
    says: /hostNetwork/u,
    stage: { pod: pod({ spec: { hostNetwork: true } }) },
  },
  'a pod for Windows': { code: 'INJECT_WINDOWS', says: /Linux only/u, stage: { pod: pod({ spec: { os: { name: 'windows' } } }) } },
  'a pod that selects Windows nodes': {
    code: 'INJECT_WINDOWS',
    says: /Linux only/u,
    stage: { pod: pod({ spec: { nodeSelector: { 'kubernetes.io/os': 'windows' } } }) },
  },
  'a container that runs as our group': {
    code: 'INJECT_GROUP',
    says: /container web runs as group 15300/u,
    stage: { pod: pod({ container: { securityContext: { runAsGroup: 15_300 } } }) },
  },
  'a pod that runs as our group': {
    code: 'INJECT_GROUP',
    says: /container web runs as group 15300/u,
    stage: { pod: pod({ spec: { securityContext: { runAsGroup: 15_300 } } }) },
  },
  'an init container that runs as our group': {
    code: 'INJECT_GROUP',
    says: /container migrate/u,
    stage: { pod: pod({ spec: { initContainers: [{ name: 'migrate', securityContext: { runAsGroup: 15_300 } }] } }) },
  },
  'a sidecar that was put there by hand': {
    code: 'INJECT_ALREADY',
    says: /container named kpeering already/u,
    stage: { pod: pod({ spec: { initContainers: [{ name: 'kpeering', restartPolicy: 'Always' }] } }) },
  },
  'an init container that was put there by hand': {
    code: 'INJECT_ALREADY',
    says: /container named kpeering-init already/u,
    stage: { pod: pod({ spec: { initContainers: [{ name: 'kpeering-init' }] } }) },
  },
  'both, as deploy/examples have them': {
    code: 'INJECT_ALREADY',
    says: /container named kpeering-init already/u,
    stage: { pod: pod({ spec: { initContainers: [{ name: 'kpeering-init' }, { name: 'kpeering', restartPolicy: 'Always' }] } }) },
  },
  'a volume with our name': {
    code: 'INJECT_VOLUME',
    says: /volume named kpeering/u,
    stage: { pod: pod({ spec: { volumes: [{ name: 'kpeering', configMap: { name: 'x' } }] } }) },
  },
  'a declared port that is ours': {
    code: 'INJECT_PORT',
    says: /container web declares port 15320/u,
    stage: { pod: pod({ container: { ports: [{ containerPort: 15_320 }] } }) },
  },
  'a declared UDP port in the range of our listeners': {
    code: 'INJECT_PORT',
    says: /declares port 15550/u,
    stage: { pod: pod({ container: { ports: [{ containerPort: 15_550, protocol: 'UDP' }] } }) },
  },
  'a probe of a port that is ours': {
    code: 'INJECT_PORT',
    says: /livenessProbe of container web asks port 15400/u,
    stage: { pod: pod({ container: { livenessProbe: { tcpSocket: { port: 15_400 } } } }) },
  },
  'a Job where there are no native sidecars': {
    code: 'INJECT_JOB',
    says: /restartPolicy Never/u,
    stage: { pod: pod({ spec: gatewayed }), settings: { nativeSidecars: false } },
  },
  'a static pod': {
    code: 'INJECT_STATIC_POD',
    says: /static/u,
    stage: { pod: pod({ annotations: { 'kubernetes.io/config.mirror': 'abc' } }) },
  },
  'a pod of kube-system': { code: 'INJECT_NAMESPACE', says: /kube-system/u, stage: { namespace: { name: 'kube-system' } } },
  'a namespace that enforces baseline': {
    code: 'INJECT_POD_SECURITY',
    says: /namespace shop enforces the Pod Security level baseline \(kpeering-init adds NET_ADMIN and NET_RAW, kpeering adds NET_RAW\)/u,
    stage: { namespace: { labels: { ...namespace.labels, 'pod-security.kubernetes.io/enforce': 'baseline' } } },
  },
  'a namespace that enforces baseline, in redirect mode': {
    code: 'INJECT_POD_SECURITY',
    says: /\(kpeering-init adds NET_ADMIN and NET_RAW\)/u,
    stage: {
      pod: pod({ annotations: { 'kpeering.io/mode': 'redirect' } }),
      namespace: { labels: { ...namespace.labels, 'pod-security.kubernetes.io/enforce': 'baseline' } },
    },
  },
  'a label that is neither enabled nor disabled': {
    code: 'INJECT_LABEL',
    says: /the pod's label kpeering.io\/inject is "true"; it takes enabled or disabled/u,
    stage: { pod: pod({ labels: { 'kpeering.io/inject': 'true' } }) },
  },
  'a wrong option': {
    code: 'INJECT_OPTION',
    says: /kpeering.io\/mode of the pod: "fast" is not one of auto, redirect and tproxy/u,
    stage: { pod: pod({ annotations: { 'kpeering.io/mode': 'fast' } }) },
  },
  'more probed ports than there are aliases': {
    code: 'INJECT_PROBES',
    says: /more than 100 ports/u,
    stage: {
      pod: pod({
        spec: {
          containers: Array.from({ length: 101 }, (_, index) => ({
            name: `c${index}`,
            ports: [{ containerPort: 2000 + index }],
            readinessProbe: { tcpSocket: { port: 2000 + index } },
          })),
        },
      }),
    },
  },
};

for (const [name, { code, says, stage }] of Object.entries(refusals)) {
  test(`left alone, with the reason in an annotation: ${name}`, (t) => {
    const decision = decide(stage);
    if (decision.kind !== 'left-alone') return t.fail(decision.kind);
    t.is(decision.reason.code, code);
    t.regex(decision.reason.format(), says);
    const given = stage.pod ?? pod();
    const changed = applyPatch(given, decision.patch);
    t.like(changed, { metadata: { annotations: { 'kpeering.io/not-injected': decision.reason.format() } } });
    t.deepEqual(applyPatch(changed, [{ op: 'remove', path: '/metadata/annotations/kpeering.io~1not-injected' }]), given);
    const again = decide({ ...stage, pod: changed });
    t.like(again, { kind: 'left-alone', patch: [] });
  });
}

test('what is no pod is left alone, without a patch', (t) => {
  const decision = decide({ pod: { metadata: {}, spec: { containers: 'web' } } });
  if (decision.kind !== 'left-alone') return t.fail(decision.kind);
  t.is(decision.reason.code, 'INJECT_POD');
  t.regex(decision.reason.message, /spec\.containers/u);
  t.deepEqual(decision.patch, []);
});

test('a Job is injected where there are native sidecars, and a Deployment where there are none', (t) => {
  t.is(decide({ pod: pod({ spec: gatewayed }) }).kind, 'injected');
  t.is(decide({ pod: pod({ spec: { restartPolicy: 'Always' } }), settings: { nativeSidecars: false } }).kind, 'injected');
});

test('a supplementary group with our number is no clash', (t) => {
  t.is(decide({ pod: pod({ spec: { securityContext: { fsGroup: 15_300, supplementalGroups: [15_300] } } }) }).kind, 'injected');
});

test("a container's own group counts, not the pod's", (t) => {
  const spec = { securityContext: { runAsGroup: 15_300 } };
  t.is(decide({ pod: pod({ spec, container: { securityContext: { runAsGroup: 1000 } } }) }).kind, 'injected');
});

test('a second call for the same pod changes nothing', (t) => {
  const container = { readinessProbe: { httpGet: { port: 'http' } }, livenessProbe: { tcpSocket: { port: 8080 } } };
  for (const nativeSidecars of [true, false]) {
    const once = injected({ pod: pod({ container }), settings: { nativeSidecars } });
    t.deepEqual(decide({ pod: once, settings: { nativeSidecars } }), { kind: 'unchanged' });
  }
});

test('probes and ports of a container that another webhook added are taken in by the second call', (t) => {
  const once = injected({ pod: pod({ container: { readinessProbe: { tcpSocket: { port: 8080 } } } }) });
  const added = {
    name: 'proxy',
    image: 'proxy:1',
    ports: [{ containerPort: 9000 }],
    readinessProbe: { httpGet: { path: '/', port: 9000 } },
    livenessProbe: { tcpSocket: { port: 8080 } },
  };
  const between = { ...once, spec: { ...once.spec, containers: [added, ...once.spec.containers] } };
  const twice = injected({ pod: between });
  t.deepEqual(twice.spec.containers[0], {
    ...added,
    readinessProbe: { httpGet: { path: '/', port: 15_401 } },
    livenessProbe: { tcpSocket: { port: 15_400 } },
  });
  t.deepEqual(twice.spec.containers[1], once.spec.containers[0]);
  t.like(variablesOf(twice, 'kpeering-init'), { KPEERING_INBOUND_PORTS: '9000,8080', KPEERING_PROBE_ALIASES: '15400:8080,15401:9000' });
  t.deepEqual(decide({ pod: twice }), { kind: 'unchanged' });
});

test('the second call makes the aliases where the first one had none to make', (t) => {
  const once = injected();
  const [web, ...rest] = once.spec.containers;
  const between = { ...once, spec: { ...once.spec, containers: [{ ...web, startupProbe: { grpc: { port: 8080 } } }, ...rest] } };
  const twice = injected({ pod: between });
  t.deepEqual(twice.spec.containers[0]?.startupProbe, { grpc: { port: 15_400 } });
  t.is(variablesOf(twice, 'kpeering-init')['KPEERING_PROBE_ALIASES'], '15400:8080');
});

test('an injected pod is not noted as left alone when what came between cannot be taken in', (t) => {
  const once = injected();
  const added = { name: 'proxy', readinessProbe: { tcpSocket: { port: 15_320 } } };
  const decision = decide({ pod: { ...once, spec: { ...once.spec, containers: [...once.spec.containers, added] } } });
  t.like(decision, { kind: 'left-alone', reason: { code: 'INJECT_PORT' }, patch: [] });
});

test('what another webhook changed in our containers stays', (t) => {
  const once = injected();
  const initContainers = once.spec.initContainers.map((container) => ({ ...container, image: `mirror/${container.image}` }));
  t.deepEqual(decide({ pod: { ...once, spec: { ...once.spec, initContainers } } }), { kind: 'unchanged' });
});

test('a label of injection that came with a copied manifest does not keep the pod from it, and an old note goes', (t) => {
  const given = pod({ labels: { 'kpeering.io/injected': 'true' }, annotations: { 'kpeering.io/not-injected': 'old [INJECT_WINDOWS]' } });
  const changed = injected({ pod: given });
  t.is(changed.spec.initContainers.length, 2);
  t.deepEqual(changed.metadata.annotations, {});
});

test('resources are those of the options, for both containers', (t) => {
  const defaults = { 'cpu-request': '10m', 'memory-request': '64Mi', 'memory-limit': '256Mi' };
  const wanted = { requests: { cpu: '10m', memory: '32Mi' }, limits: { memory: '256Mi' } };
  const { spec } = injected({ pod: pod({ annotations: { 'kpeering.io/memory-request': '32Mi' } }), settings: { defaults } });
  t.deepEqual(
    spec.initContainers.map(({ resources }) => resources),
    [wanted, wanted],
  );
  t.is(injected().spec.initContainers[0]?.resources, undefined);
});

test("in a pod with resources of its own, only those that the pod's annotations ask for are set", (t) => {
  const given = pod({ spec: { resources: { requests: { cpu: '1' } } }, annotations: { 'kpeering.io/cpu-request': '5m' } });
  const { spec } = injected({
    pod: given,
    namespace: { annotations: { 'kpeering.io/cpu-limit': '1' } },
    settings: { defaults: { 'memory-request': '64Mi' } },
  });
  t.deepEqual(spec.initContainers[1]?.resources, { requests: { cpu: '5m' } });
});

for (const [grace, drain] of [
  [undefined, undefined],
  [30, undefined],
  [300, '295'],
  [15, '10'],
  [10, '5'],
  [1, '0.5'],
  [0, '0'],
] as const) {
  test(`flows may go on while the pod ends, for nearly all of its grace: ${grace ?? 'not said'}`, (t) => {
    const changed = injected({ pod: pod({ spec: { terminationGracePeriodSeconds: grace } }) });
    t.is(variablesOf(changed, 'kpeering')['KPEERING_DRAIN_SECONDS'], drain);
  });
}

test('the same request has the same answer, and the request is not changed', (t) => {
  const given = pod({ container: { readinessProbe: { tcpSocket: { port: 8080 } } } });
  const before = structuredClone(given);
  t.deepEqual(decide({ pod: given }), decide({ pod: given }));
  t.deepEqual(given, before);
  t.deepEqual(settings.defaults, {});
});

test('the reason why a pod was left alone is short, however long the wrong value is, so that the API server takes the pod', (t) => {
  const annotations = { 'kpeering.io/mode': 'x'.repeat(200_000), 'kpeering.io/dns': 'y'.repeat(50_000) };
  const decision = decide({ pod: pod({ annotations }) });
  if (decision.kind !== 'left-alone') return t.fail(decision.kind);
  t.is(decision.reason.code, 'INJECT_OPTION');
  t.true(decision.reason.format().length < 3_500);
  const [note] = decision.patch;
  t.true(note !== undefined && JSON.stringify(note).length < 4_000);
  t.true(decision.reason.format().includes('docs/injection.md'));
});

test('a pod that has no room for one annotation more is left alone without a note', (t) => {
  const annotations = { 'kpeering.io/mode': 'wrong', note: 'z'.repeat(262_000) };
  const decision = decide({ pod: pod({ annotations }) });
  t.like(decision, { kind: 'left-alone', patch: [] });
});

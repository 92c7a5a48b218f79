import test from 'ava';
import { initContainer, sidecarContainer } from '../../../../src/operator/injection/containers.ts';
import { readOptions, type CaptureMode } from '../../../../src/operator/injection/options.ts';
import {
  enforcedLevel,
  violations,
  type PodSecurityLevel,
  type SecuredContainer,
} from '../../../../src/operator/injection/pod-security.ts';
import { settings } from './stage.ts';

function containersIn(mode: CaptureMode): { readonly init: SecuredContainer; readonly sidecar: SecuredContainer } {
  const options = readOptions([{ whose: 'a test', prefix: '', values: { mode } }]);
  const capture = { inboundPorts: ['*'], inboundUdpPorts: [], aliases: new Map<number, number>() };
  return { init: initContainer(settings, options, capture), sidecar: sidecarContainer(settings, options) };
}

const levels: readonly PodSecurityLevel[] = ['privileged', 'baseline', 'restricted'];

test('the init container passes no level but privileged, so an injected pod passes none in either mode', (t) => {
  for (const mode of ['auto', 'tproxy', 'redirect'] as const) {
    const { init, sidecar } = containersIn(mode);
    t.deepEqual(
      levels.filter((level) => violations(level, [init, sidecar], 'RuntimeDefault').length === 0),
      ['privileged'],
    );
  }
});

test("of the sidecar alone, redirect mode's passes every level and tproxy's only privileged", (t) => {
  const passes = (mode: CaptureMode): readonly string[] =>
    levels.filter((level) => violations(level, [containersIn(mode).sidecar], 'RuntimeDefault').length === 0);
  t.deepEqual(passes('redirect'), levels);
  t.deepEqual(passes('tproxy'), ['privileged']);
  t.deepEqual(passes('auto'), ['privileged']);
});

test('restricted names every reason', (t) => {
  const { sidecar } = containersIn('tproxy');
  t.deepEqual(violations('restricted', [sidecar], undefined), [
    'kpeering adds NET_RAW',
    'kpeering may run as root',
    'the pod has no seccomp profile',
  ]);
  const { capabilities: _, ...securityContext } = sidecar.securityContext;
  const loose = {
    name: 'loose',
    securityContext: { ...securityContext, allowPrivilegeEscalation: true, capabilities: { drop: ['NET_RAW'] } },
  };
  t.deepEqual(violations('restricted', [loose], 'Unconfined').slice(1, 3), [
    'loose allows privilege escalation',
    'loose keeps capabilities',
  ]);
});

test('to restricted, a container that may run as root is as one that does', (t) => {
  const { sidecar } = containersIn('redirect');
  const free = { name: 'free', securityContext: { ...sidecar.securityContext, runAsNonRoot: false } };
  const root = { name: 'root', securityContext: { ...sidecar.securityContext, runAsUser: 0 } };
  t.deepEqual(violations('restricted', [free, root], 'Localhost'), ['free may run as root', 'root may run as root']);
});

test('a namespace without the label enforces nothing, and a word that is no level is the strictest', (t) => {
  const level = (value: string): PodSecurityLevel => enforcedLevel({ 'pod-security.kubernetes.io/enforce': value });
  t.is(enforcedLevel({ 'pod-security.kubernetes.io/warn': 'restricted' }), 'privileged');
  t.is(level('privileged'), 'privileged');
  t.is(level('baseline'), 'baseline');
  t.is(level('restricted'), 'restricted');
  t.is(level('strict'), 'restricted');
});

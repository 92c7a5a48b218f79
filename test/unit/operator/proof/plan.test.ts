import test from 'ava';
import { pods, type Pod } from '../../../../src/cluster/resources.ts';
import { ProofPlan } from '../../../../src/operator/proof/plan.ts';
import type { ProofResult } from '../../../../src/operator/proof/prove-pod.ts';

const proved: ProofResult = { status: 'True', reason: 'Proved', message: '' };
const failed: ProofResult = { status: 'False', reason: 'NotCaptured', message: '' };
const START = '2026-11-21T19:00:00Z';
/** Twenty minutes later. */
const WALL = Date.parse(START) + 1_200_000;

interface PodParts {
  readonly startedAt?: string;
  readonly running?: boolean;
  readonly ip?: string;
  readonly phase?: string;
  readonly condition?: object;
}

function pod({ startedAt = START, running = true, ip = '10.244.0.7', phase = 'Running', condition }: PodParts = {}): Pod {
  return pods.parse({
    metadata: { name: 'web', namespace: 'shop', uid: 'u' },
    spec: { containers: [{ name: 'web' }], initContainers: [{ name: 'kpeering', restartPolicy: 'Always' }] },
    status: {
      phase,
      ...(ip !== '' && { podIP: ip, podIPs: [{ ip }] }),
      initContainerStatuses: [{ name: 'kpeering', state: running ? { running: { startedAt } } : { waiting: {} } }],
      ...(condition !== undefined && { conditions: [{ type: 'kpeering.io/Captured', ...condition }] }),
    },
  });
}

test('a pod is proved when its sidecar runs and it has an address, once', (t) => {
  const plan = new ProofPlan();
  plan.observe(pod({ running: false }), 0, WALL);
  plan.observe(pod({ ip: '' }), 0, WALL);
  t.is(plan.nextDue, undefined);
  plan.observe(pod(), 0, WALL);
  t.is(plan.take(499), undefined);
  const candidate = plan.take(500);
  t.like(candidate, { namespace: 'shop', name: 'web', addresses: ['10.244.0.7'] });
  t.is(plan.take(500), undefined);
  if (candidate !== undefined) t.true(plan.proved(candidate, proved, 600));
  plan.observe(pod(), 700, WALL);
  t.is(plan.take(60_000), undefined);
  t.deepEqual(plan.standing, { proved: 1, not_captured: 0, unknown: 0, pending: 0 });
});

test('it is proved again when the sidecar was started again, and every ten minutes', (t) => {
  const plan = new ProofPlan();
  plan.observe(pod(), 0, WALL);
  const first = plan.take(500);
  if (first === undefined) return t.fail();
  plan.observe(pod({ startedAt: '2026-11-21T19:05:00Z' }), 600, WALL);
  t.false(plan.proved(first, proved, 700), 'the proof of the earlier run is not told');
  const second = plan.take(1_100);
  if (second === undefined) return t.fail();
  t.true(plan.proved(second, proved, 1_200));
  t.is(plan.take(500_000), undefined);
  t.not(plan.take(601_200), undefined);
});

test('a failure is told when it was seen three times, and then once', (t) => {
  const plan = new ProofPlan();
  plan.observe(pod(), 0, WALL);
  const told: number[] = [];
  for (let now = 0; now < 900_000; now += 500) {
    const candidate = plan.take(now);
    if (candidate !== undefined && plan.proved(candidate, failed, now)) told.push(now);
  }
  t.deepEqual(told, [6_500]);
  t.deepEqual(plan.standing, { proved: 0, not_captured: 1, unknown: 0, pending: 0 });
});

test('a pod that ends, or is deleted, is not proved any more', (t) => {
  const plan = new ProofPlan();
  plan.observe(pod(), 0, WALL);
  plan.observe(pod({ phase: 'Succeeded' }), 100, WALL);
  t.is(plan.take(1_000), undefined);
  plan.observe(pod(), 0, WALL);
  plan.forget('u');
  t.is(plan.take(1_000), undefined);
});

test('a new leader does not prove anew what the last one has proved', (t) => {
  const plan = new ProofPlan();
  plan.observe(pod({ condition: { status: 'True', lastProbeTime: new Date(WALL - 60_000).toISOString() } }), 0, WALL);
  t.is(plan.take(500_000), undefined);
  t.not(plan.take(540_000), undefined);
});

test('but what was proved of an earlier run of the sidecar counts for nothing', (t) => {
  const plan = new ProofPlan();
  plan.observe(pod({ condition: { status: 'True', lastProbeTime: '2026-11-21T18:59:59Z' } }), 0, WALL);
  t.not(plan.take(500), undefined);
});

test('what could not be told is told with the next proof', (t) => {
  const plan = new ProofPlan();
  plan.observe(pod(), 0, WALL);
  const told: number[] = [];
  for (let now = 0; now < 20_000; now += 500) {
    const candidate = plan.take(now);
    if (candidate === undefined || !plan.proved(candidate, failed, now)) continue;
    told.push(now);
    if (told.length === 1) plan.untold(candidate, now);
  }
  t.deepEqual(told, [6_500, 14_500]);
});

test('a success that could not be told is proved and told again soon, and ever less often where that goes on', (t) => {
  const plan = new ProofPlan();
  plan.observe(pod(), 0, WALL);
  const told: number[] = [];
  for (let now = 0; now < 20_000; now += 500) {
    const candidate = plan.take(now);
    if (candidate === undefined || !plan.proved(candidate, proved, now)) continue;
    told.push(now);
    if (told.length < 4) plan.untold(candidate, now);
    else plan.told(candidate);
  }
  t.deepEqual(told, [500, 2_500, 6_500, 14_500]);
  t.is(plan.standing.proved, 1);
});

import { setImmediate } from 'node:timers/promises';
import test, { type ExecutionContext } from 'ava';
import { z } from 'zod';
import { LeaseElection, type ElectionTimes } from '../../../../src/operator/election/lease-election.ts';
import { silentLogger } from '../../../../src/platform/log.ts';
import { ImitatedApi } from '../imitated-api.ts';

const namespace = 'kpeering-system';
const key = `leases/${namespace}/kpeering-operator`;
const times: ElectionTimes = { lease: 1500, renew: 1000, retry: 50 };

const leaseSchema = z.object({ spec: z.object({ holderIdentity: z.string(), leaseTransitions: z.number(), renewTime: z.string() }) });

class Stage {
  readonly api = new ImitatedApi();
  /** Who leads now, in the order in which they began. */
  readonly leading = new Set<string>();
  /** What has happened: `one begins`. */
  readonly history: string[] = [];
  readonly #t: ExecutionContext;
  #changed = Promise.withResolvers<void>();

  constructor(t: ExecutionContext) {
    this.#t = t;
  }

  candidate(identity: string): LeaseElection {
    const election = new LeaseElection({
      cluster: this.api.cluster,
      namespace,
      identity,
      ownerReferences: [],
      lead: () => {
        this.#note(identity, 'begins');
        const close = async (): Promise<void> => this.#note(identity, 'ends');
        return { close, [Symbol.asyncDispose]: close };
      },
      log: silentLogger,
      times,
    });
    this.#t.teardown(async () => await election.close());
    return election;
  }

  async until(condition: () => boolean): Promise<void> {
    while (!condition()) await this.#changed.promise;
  }

  get lease(): z.infer<typeof leaseSchema>['spec'] {
    return leaseSchema.parse(this.api.objects.get(key)).spec;
  }

  #note(identity: string, what: 'begins' | 'ends'): void {
    if (what === 'begins') this.leading.add(identity);
    else this.leading.delete(identity);
    this.history.push(`${identity} ${what}`);
    this.#changed.resolve();
    this.#changed = Promise.withResolvers();
  }
}

test('one of two leads, and goes on leading', async (t) => {
  const stage = new Stage(t);
  const elections = [stage.candidate('one'), stage.candidate('two')];
  await stage.until(() => stage.leading.size > 0);
  const { renewTime, holderIdentity } = stage.lease;
  // Longer than a Lease that is not renewed lasts.
  await stage.api.until(() => Date.parse(stage.lease.renewTime) - Date.parse(renewTime) > times.lease * 1.5);
  t.is(stage.history.length, 1);
  t.true(stage.leading.has(holderIdentity));
  t.is(elections.filter(({ leading }) => leading).length, 1);
});

test('a leader that ends gives the Lease back, and the other takes it at its next attempt', async (t) => {
  const stage = new Stage(t);
  const one = stage.candidate('one');
  await stage.until(() => stage.leading.has('one'));
  stage.candidate('two');
  await one.close();
  const freed = performance.now();
  t.is(stage.lease.holderIdentity, '');
  await stage.until(() => stage.leading.has('two'));
  t.true(performance.now() - freed < times.lease);
  t.deepEqual(stage.history, ['one begins', 'one ends', 'two begins']);
  t.is(stage.lease.leaseTransitions, 1);
});

test('the Lease of a holder that says nothing any more lapses, whatever its clock said', async (t) => {
  const stage = new Stage(t);
  const renewTime = '2099-01-01T00:00:00.000000Z';
  stage.api.put(key, {
    metadata: { name: 'kpeering-operator' },
    spec: { holderIdentity: 'dead', leaseDurationSeconds: 0, renewTime, leaseTransitions: 4 },
  });
  const began = performance.now();
  stage.candidate('one');
  await stage.until(() => stage.leading.has('one'));
  t.true(performance.now() - began >= times.lease);
  t.deepEqual([stage.lease.holderIdentity, stage.lease.leaseTransitions], ['one', 5]);
});

test('a leader that cannot renew ends its work before another may begin, and comes back', async (t) => {
  const stage = new Stage(t);
  stage.candidate('one');
  await stage.until(() => stage.leading.has('one'));
  stage.api.down = true;
  const cut = performance.now();
  await stage.until(() => stage.leading.size === 0);
  t.true(performance.now() - cut < times.lease);
  stage.api.down = false;
  await stage.until(() => stage.leading.has('one'));
  t.deepEqual(stage.history, ['one begins', 'one ends', 'one begins']);
});

test('a leader whose Lease another has taken ends its work', async (t) => {
  const stage = new Stage(t);
  const one = stage.candidate('one');
  await stage.until(() => stage.leading.has('one'));
  stage.api.put(key, {
    metadata: { name: 'kpeering-operator' },
    spec: { ...stage.lease, holderIdentity: 'thief', leaseDurationSeconds: 60 },
  });
  await stage.until(() => stage.leading.size === 0);
  t.false(one.leading);
  t.is(stage.lease.holderIdentity, 'thief');
});

test('a Lease that somebody deletes is made again', async (t) => {
  const stage = new Stage(t);
  stage.candidate('one');
  await stage.until(() => stage.leading.has('one'));
  stage.api.remove(key);
  await stage.api.until(() => stage.api.objects.has(key));
  t.is(stage.lease.holderIdentity, 'one');
});

test('a leader whose renewal was stored while its answer was lost goes on leading', async (t) => {
  const stage = new Stage(t);
  const one = stage.candidate('one');
  await stage.until(() => stage.leading.has('one'));
  stage.api.put(key, { metadata: { name: 'kpeering-operator' }, spec: { ...stage.lease, renewTime: '2026-01-01T00:00:00.000000Z' } });
  const renewals = stage.api.writes.length;
  await stage.api.until(() => stage.api.writes.length > renewals + 2);
  t.true(one.leading);
  t.deepEqual(stage.history, ['one begins']);
});

test('a renewal that comes too late begins no new term before the work of the last one has ended', async (t) => {
  const api = new ImitatedApi();
  const late = Promise.withResolvers<void>();
  const ended = Promise.withResolvers<void>();
  const ending = Promise.withResolvers<void>();
  const again = Promise.withResolvers<void>();
  const history: string[] = [];
  let slow = false;
  const election = new LeaseElection({
    cluster: {
      ...api.cluster,
      patch: async (...request) => {
        if (slow) await late.promise;
        return await api.cluster.patch(...request);
      },
    },
    namespace,
    identity: 'one',
    ownerReferences: [],
    lead: () => {
      history.push('begins');
      slow = history.length === 1;
      if (history.length > 1) again.resolve();
      const close = async (): Promise<void> => {
        history.push('is to end');
        ending.resolve();
        await ended.promise;
        history.push('has ended');
      };
      return { close, [Symbol.asyncDispose]: close };
    },
    log: silentLogger,
    times,
  });
  t.teardown(async () => await election.close());
  await ending.promise;
  const stored = api.until(() => api.writes.length > 1);
  late.resolve();
  await stored;
  await setImmediate();
  t.deepEqual(history, ['begins', 'is to end']);
  slow = false;
  ended.resolve();
  await again.promise;
  t.deepEqual(history, ['begins', 'is to end', 'has ended', 'begins']);
});

import test from 'ava';
import { leases, type Lease } from '../../../../src/cluster/leases.ts';
import type { Cluster, KubeObject, Resource } from '../../../../src/cluster/types.ts';
import { ReplacementKeeper } from '../../../../src/operator/replace/keeper.ts';
import { Failure } from '../../../../src/platform/errors.ts';
import { silentLogger } from '../../../../src/platform/log.ts';

const gone = new Failure('NOT_FOUND', 'there is none');

/** One Deployment that is replaced, and one Lease, in an API server that can be slow. */
class Stage {
  now = 0;
  answersAfter = 0;
  renewTime = 'a';
  held = true;
  version = 1;
  deployment: object = {
    metadata: { name: 'worker', namespace: 'shop', uid: 'd', resourceVersion: '1', labels: { 'kpeering.io/replaced': 'true' } },
    spec: {
      template: { metadata: { annotations: { 'kpeering.io/replace': 'worker', 'kpeering.io/replace-lease': 'the-lease' } }, spec: {} },
    },
  };
  readonly done: string[] = [];
  /** What the watch shows: it may be late. */
  seen: Lease | undefined = this.lease;

  get lease(): Lease {
    return leases.parse({
      metadata: {
        name: 'the-lease',
        namespace: 'shop',
        uid: 'l',
        resourceVersion: String(this.version),
        annotations: { 'kpeering.io/workload': 'deployment/worker' },
      },
      spec: { leaseDurationSeconds: 20, renewTime: this.renewTime, holderIdentity: 'ada@laptop' },
    });
  }

  renew(): void {
    this.version += 1;
    this.renewTime += 'a';
  }

  readonly keeper = new ReplacementKeeper({
    cluster: this.#cluster(),
    log: silentLogger,
    leases: () => (this.seen === undefined ? [] : [this.seen]),
    orphans: () => (this.seen === undefined ? [{ type: 'deployment', namespace: 'shop', name: 'worker' }] : []),
    now: () => this.now,
  });

  /** Sweeps every five seconds. */
  async pass(milliseconds: number, each: () => void = () => {}): Promise<void> {
    for (const end = this.now + milliseconds; this.now < end; this.now += 5_000) {
      each();
      await this.keeper.sweep(new AbortController().signal);
    }
  }

  #cluster(): Pick<Cluster, 'get' | 'patch' | 'create' | 'delete'> {
    return {
      get: async <T extends KubeObject>(resource: Resource<T>): Promise<T> => {
        this.now += this.answersAfter;
        if (resource.kind === 'Deployment') return resource.parse(this.deployment);
        if (!this.held) throw gone;
        return resource.parse(JSON.parse(JSON.stringify(this.lease)));
      },
      patch: async <T extends KubeObject>(resource: Resource<T>, name: string, change: { readonly kind: string }): Promise<T> => {
        this.done.push(`${change.kind} ${name}`);
        this.deployment = { metadata: { name: 'worker', namespace: 'shop', uid: 'd' }, spec: { template: { spec: {} } } };
        return resource.parse(this.deployment);
      },
      create: async <T extends KubeObject>(resource: Resource<T>, object: object): Promise<T> => {
        this.done.push(`create ${resource.kind}`);
        return resource.parse(object);
      },
      delete: async (_: Resource<KubeObject>, name: string, options: { readonly resourceVersion?: string } = {}): Promise<void> => {
        if (options.resourceVersion !== String(this.version)) throw new Failure('API_CONFLICT', 'changed');
        this.done.push(`delete ${name}`);
        this.held = false;
        this.seen = undefined;
      },
    };
  }
}

test('a session that is renewed is left alone', async (t) => {
  const stage = new Stage();
  await stage.pass(300_000, () => {
    stage.renew();
    stage.seen = stage.lease;
  });
  t.deepEqual(stage.done, []);
});

test('a session that is not renewed ends: its Lease goes first, then the original comes back, and an Event tells', async (t) => {
  const stage = new Stage();
  await stage.pass(30_000);
  t.deepEqual(stage.done, []);
  await stage.pass(10_000);
  t.deepEqual(stage.done, ['delete the-lease', 'merge worker', 'create Event']);
  await stage.pass(60_000);
  t.is(stage.done.length, 3);
});

test('a renewal that the watch has not shown yet is not overlooked', async (t) => {
  const stage = new Stage();
  await stage.pass(120_000, () => stage.renew());
  t.deepEqual(stage.done, []);
});

test('an API server that was away for 40 s ends no session: everybody gets their time anew', async (t) => {
  const stage = new Stage();
  await stage.pass(20_000);
  stage.answersAfter = 40_000;
  await stage.pass(5_000);
  stage.answersAfter = 0;
  await stage.pass(15_000);
  stage.renew();
  stage.seen = stage.lease;
  await stage.pass(20_000);
  t.deepEqual(stage.done, []);
});

test('a workload whose Lease somebody has deleted is put back', async (t) => {
  const stage = new Stage();
  stage.held = false;
  stage.seen = undefined;
  await stage.pass(5_000);
  t.deepEqual(stage.done, ['merge worker', 'create Event']);
});

test('a workload whose Lease the watch does not show yet is left alone', async (t) => {
  const stage = new Stage();
  stage.seen = undefined;
  await stage.pass(30_000);
  t.deepEqual(stage.done, []);
});

test('a label that is left on a workload whose template is the original again goes, and no Event tells of a container', async (t) => {
  const stage = new Stage();
  stage.held = false;
  stage.seen = undefined;
  stage.deployment = {
    metadata: { name: 'worker', namespace: 'shop', uid: 'd', resourceVersion: '1', labels: { 'kpeering.io/replaced': 'true' } },
    spec: { template: { spec: {} } },
  };
  await stage.pass(5_000);
  t.deepEqual(stage.done, ['merge worker']);
});

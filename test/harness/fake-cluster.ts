import type { Cluster } from '../../src/cluster/types.ts';

/** A cluster of which a test gives what it needs; whatever else is asked of it throws. */
export function fakeCluster(parts: Partial<Cluster>): Cluster {
  const unused = (): never => {
    throw new Error('this test gives no such part of the cluster');
  };
  return {
    context: 'test',
    namespace: 'shop',
    server: 'https://test',
    hosts: ['test'],
    transport: undefined,
    get: unused,
    list: unused,
    watch: unused,
    portForward: unused,
    getFromPod: unused,
    create: unused,
    patch: unused,
    delete: unused,
    podLog: unused,
    followLog: unused,
    can: unused,
    version: unused,
    discover: unused,
    refresh: unused,
    createToken: unused,
    whoAmI: unused,
    close: unused,
    [Symbol.asyncDispose]: unused,
    ...parts,
  };
}

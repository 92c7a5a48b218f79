import test from 'ava';
import { Failure } from '../../../../src/platform/errors.ts';
import { findCaller, type CallerSources } from '../../../../src/kpctl/up/caller.ts';

interface Process {
  readonly name: string;
  readonly parent: number;
  readonly uid: number;
  /** Default: the same as the real one. */
  readonly effectiveUid?: number;
  readonly groups?: string;
  readonly environment?: readonly string[];
}

/** Root's kpctl below these processes; its parent is 40. */
function sources(processes: Readonly<Record<number, Process>>, more: Partial<CallerSources> = {}): CallerSources {
  return {
    uid: 0,
    parent: 40,
    environment: { SUDO_UID: '1000', SUDO_GID: '1000', SUDO_USER: 'alice', HOME: '/root', PATH: '/usr/sbin' },
    directory: '/work/shop',
    processFile: (pid, name) => {
      const found = processes[pid];
      if (found === undefined) return undefined;
      if (name === 'environ') return [...(found.environment ?? []), ''].join('\0');
      return `Name:\t${found.name}\nPPid:\t${found.parent}\nUid:\t${found.uid}\t${found.effectiveUid ?? found.uid}\t${found.uid}\t${found.uid}\nGroups:\t${found.groups ?? ''} \n`;
    },
    account: () => undefined,
    groupsOf: () => [7],
    ...more,
  };
}

const shell: Process = { name: 'bash', parent: 1, uid: 1000, groups: '4 27 1000' };
const environment = [
  'HOME=/home/alice',
  'USER=alice',
  'PATH=/home/alice/bin:/usr/bin',
  'KUBECONFIG=a:b',
  'LINES=a=b',
  'HTTPS_PROXY=http://proxy:3128',
];

test('behind sudo the caller has the groups of the shell, and the environment that sudo was started with', (t) => {
  const caller = findCaller(sources({ 40: { name: 'sudo', parent: 39, uid: 0, environment }, 39: shell }));
  t.like(caller, { uid: 1000, gid: 1000, groups: [4, 27, 1000], name: 'alice', home: '/home/alice', directory: '/work/shop' });
  t.like(caller.environment, { HOME: '/home/alice', PATH: '/home/alice/bin:/usr/bin', KUBECONFIG: 'a:b', LINES: 'a=b', LOGNAME: 'alice' });
  t.is(caller.environment['HTTPS_PROXY'], 'http://proxy:3128');
  t.is(caller.environment['SUDO_UID'], undefined);
});

test('sudo is found behind a wrapper and its own monitor process', (t) => {
  const caller = findCaller(
    sources({
      40: { name: 'sh', parent: 41, uid: 0 },
      41: { name: 'sudo', parent: 42, uid: 0, environment },
      42: { name: 'sudo', parent: 43, uid: 0, environment },
      43: shell,
    }),
  );
  t.deepEqual(caller.groups, [4, 27, 1000]);
  t.is(caller.home, '/home/alice');
});

test("sudo has the caller's real uid and root's groups: those are not the caller's", (t) => {
  const sudo: Process = { name: 'sudo', parent: 0, uid: 1000, effectiveUid: 0, groups: '0', environment };
  t.deepEqual(findCaller(sources({ 40: sudo })).groups, [7, 1000]);
});

test("what is given on sudo's own command line wins over the shell's", (t) => {
  const own = { ...sources({}).environment, KUBECONFIG: '/tmp/other', EDITOR: 'ed' };
  const caller = findCaller(sources({ 40: { name: 'sudo', parent: 39, uid: 0, environment }, 39: shell }, { environment: own }));
  t.is(caller.environment['KUBECONFIG'], '/tmp/other');
  t.is(caller.environment['EDITOR'], undefined);
});

test('without a sudo process the user database tells home and groups', (t) => {
  const account = (): string => 'alice:x:1000:1000:Alice:/home/alice:/bin/sh';
  t.like(findCaller(sources({}, { account })), { uid: 1000, groups: [7, 1000], home: '/home/alice', name: 'alice' });
});

test('root without sudo is the caller itself', (t) => {
  const caller = findCaller(sources({}, { environment: { HOME: '/root', KUBECONFIG: '/etc/kube' } }));
  t.like(caller, { uid: 0, gid: 0, name: 'root', home: '/root' });
  t.is(caller.environment['KUBECONFIG'], '/etc/kube');
});

test('who is not root is told so, and a user of whom nothing is known, too', (t) => {
  t.is(t.throws(() => findCaller(sources({}, { uid: 1000 })), { instanceOf: Failure }).code, 'ROOT_REQUIRED');
  t.is(t.throws(() => findCaller(sources({})), { instanceOf: Failure }).code, 'CALLER_UNKNOWN');
});

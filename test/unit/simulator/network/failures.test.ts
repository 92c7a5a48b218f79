import test from 'ava';
import { setUpFailure, type SetUpProblem } from '../../../../src/simulator/network/failures.ts';

const failing = (problem: Partial<SetUpProblem>): ReturnType<typeof setUpFailure> =>
  setUpFailure({
    step: 'namespaces',
    message: 'unshare failed: Operation not permitted',
    userNamespace: true,
    sysctl: () => undefined,
    ...problem,
  });

for (const [path, value, words] of [
  ['user/max_user_namespaces', '0', /user\.max_user_namespaces is 0/],
  ['kernel/unprivileged_userns_clone', '0', /kernel\.unprivileged_userns_clone is 0/],
  ['kernel/apparmor_restrict_unprivileged_userns', '1', /AppArmor/],
] as const) {
  test(`user namespaces forbidden by ${path} are explained`, (t) => {
    const failure = failing({ sysctl: (name) => (name === path ? value : undefined) });
    t.like(failure, { code: 'USER_NAMESPACES_FORBIDDEN', exitCode: 125 });
    t.regex(failure.likely ?? '', words);
  });
}

test('AppArmor lets unshare pass and forbids the next step: the answer is a profile, not switching it off', (t) => {
  const failure = failing({
    step: 'interface',
    message: 'RTNETLINK answers: Operation not permitted',
    sysctl: (name) => (name.includes('apparmor') ? '1' : undefined),
    executable: '/opt/node/bin/node',
  });
  t.is(failure.code, 'USER_NAMESPACES_FORBIDDEN');
  t.regex(failure.remedy ?? '', /profile kpctl "\/opt\/node\/bin\/node" flags=\(unconfined\)/);
});

test('a container that forbids namespaces, an old unshare and a kernel without TPROXY are told apart', (t) => {
  t.is(failing({}).code, 'USER_NAMESPACES_FORBIDDEN');
  t.is(failing({ userNamespace: false }).code, 'NAMESPACES_FORBIDDEN');
  t.is(failing({ message: "unshare: unrecognized option '--keep-caps'" }).code, 'PROGRAM_TOO_OLD');
  t.is(failing({ step: 'rules', message: 'Error: Could not process rule: No such file or directory' }).code, 'KERNEL_FEATURE_MISSING');
  t.is(failing({ step: 'files', message: 'mount /etc: EINVAL', userNamespace: false }).code, 'PRIVATE_NETWORK_FAILED');
});

import { readFileSync } from 'node:fs';
import { ExitCode, Failure } from '../../platform/errors.ts';
import type { SetUpStep } from './messages.ts';

export interface SetUpProblem {
  /** `namespaces`: unshare(1) itself, or the helper did not come up. */
  readonly step: 'namespaces' | SetUpStep;
  /** What the failing program wrote. */
  readonly message: string;
  /** Whether a user namespace was to be made (an ordinary user), or not (root). */
  readonly userNamespace: boolean;
  /** Reads a sysctl by its path below /proc/sys; undefined where the kernel has none. */
  readonly sysctl?: (path: string) => string | undefined;
  /** The program that AppArmor must let make user namespaces. */
  readonly executable?: string;
}

/** Why the private network could not be set up, as a Failure that says what to do. */
export function setUpFailure(problem: SetUpProblem): Failure {
  const { step, message, userNamespace } = problem;
  const cause = new Error(message);
  const what = `the command's private network cannot be set up: ${firstLine(message)}`;
  const exitCode = ExitCode.kpctlFailed;
  if (/unrecognized option|unknown option|invalid option/i.test(message)) {
    return new Failure('PROGRAM_TOO_OLD', what, {
      likely: 'this unshare lacks --map-current-user or --keep-caps (util-linux before 2.36, or busybox)',
      remedy: 'install util-linux 2.36 or newer',
      exitCode,
      cause,
    });
  }
  const forbidden = userNamespace && (step === 'namespaces' || /not permitted|permission denied/i.test(message));
  if (forbidden) return userNamespacesForbidden(what, problem, cause);
  if (step === 'namespaces') {
    return new Failure('NAMESPACES_FORBIDDEN', what, {
      likely: 'this container or sandbox does not allow network and mount namespaces',
      remedy: 'run kpctl outside of it, or give it CAP_SYS_ADMIN and CAP_NET_ADMIN',
      exitCode,
      cause,
    });
  }
  if (step === 'rules') {
    return new Failure('KERNEL_FEATURE_MISSING', what, {
      likely: 'the kernel lacks nf_tables modules that the capture needs, or they cannot be loaded from here',
      remedy:
        'load them: sudo modprobe -a nft_tproxy nft_socket nft_chain_nat nft_ct nft_reject_inet (Linux 5.14 or newer, CONFIG_NFT_TPROXY)',
      exitCode,
      cause,
    });
  }
  return new Failure('PRIVATE_NETWORK_FAILED', `${what} [step: ${step}]`, { exitCode, cause });
}

function userNamespacesForbidden(
  what: string,
  { sysctl = readSysctl, executable = process.execPath }: SetUpProblem,
  cause: Error,
): Failure {
  const forbidden = (likely: string, remedy: string): Failure =>
    new Failure('USER_NAMESPACES_FORBIDDEN', what, { likely, remedy, exitCode: ExitCode.kpctlFailed, cause });
  if (sysctl('user/max_user_namespaces') === '0') {
    return forbidden(
      'user namespaces are switched off: user.max_user_namespaces is 0',
      'allow them: echo user.max_user_namespaces=15000 | sudo tee /etc/sysctl.d/90-user-namespaces.conf && sudo sysctl --system',
    );
  }
  if (sysctl('kernel/unprivileged_userns_clone') === '0') {
    return forbidden(
      'only root may make user namespaces here: kernel.unprivileged_userns_clone is 0',
      'allow them: echo kernel.unprivileged_userns_clone=1 | sudo tee /etc/sysctl.d/90-user-namespaces.conf && sudo sysctl --system; or run kpctl as root',
    );
  }
  if (sysctl('kernel/apparmor_restrict_unprivileged_userns') === '1') {
    return forbidden(
      'AppArmor allows user namespaces only to programs that have a profile for it: kernel.apparmor_restrict_unprivileged_userns is 1',
      `give kpctl's Node one and leave the protection on, as root:\n${appArmorProfile(executable)}`,
    );
  }
  return forbidden(
    'a container or sandbox around kpctl does not allow user namespaces',
    'run kpctl outside of it; or as root with CAP_SYS_ADMIN and CAP_NET_ADMIN, which needs no user namespace',
  );
}

/** Shell text that installs an AppArmor profile (apparmor.d(5)) which only adds the right to make user namespaces. */
export function appArmorProfile(executable: string): string {
  return [
    `cat > /etc/apparmor.d/kpctl <<'END'`,
    'abi <abi/4.0>,',
    'include <tunables/global>',
    `profile kpctl "${executable}" flags=(unconfined) {`,
    '  userns,',
    '}',
    'END',
    'apparmor_parser -r /etc/apparmor.d/kpctl',
  ].join('\n');
}

function readSysctl(path: string): string | undefined {
  try {
    return readFileSync(`/proc/sys/${path}`, 'utf8').trim();
  } catch {
    return undefined;
  }
}

function firstLine(text: string): string {
  return text.trim().split('\n')[0] ?? '';
}

import { existsSync } from 'node:fs';
import { release } from 'node:os';
import { setTimeout as delay } from 'node:timers/promises';
import type { AbortOptions } from '../../../platform/abort.ts';
import { messageOf } from '../../../platform/errors.ts';
import { findProgram } from '../../../platform/programs.ts';
import { captureRules } from '../../../simulator/machine/rules.ts';
import { run } from '../../../simulator/network/inside/run.ts';
import type { Examination } from '../examination.ts';
import { note, ok, problem, unknown, type Seen } from '../finding.ts';
import type { Check } from '../run-checks.ts';

/** `flags owner` (kernel: net/netfilter/nf_tables_api.c, NFT_TABLE_F_OWNER) came with 5.12. */
const OWNER_FLAG = { major: 5, minor: 12 };
const TUN = '/dev/net/tun';

/** How the machine is asked. */
export interface MachineParts {
  readonly uid: number;
  readonly release: string;
  readonly find: (name: string) => string | undefined;
  readonly hasTun: () => boolean;
  /** Gives the rules of `up` to the kernel, in a network of their own that ends at once. Rejects with what nft, or unshare, says. */
  readonly tryRules: () => Promise<void>;
}

/** Whether `sudo kpctl up` can work on this machine: root, the kernel's features, the device for its addresses. */
export function upMachineCheck(parts: () => MachineParts = systemParts, platform: string = process.platform): Check<Examination> {
  return {
    id: 'up-machine',
    look: async (_, options) => (platform === 'linux' ? await look(parts(), options) : []),
  };
}

async function look(parts: MachineParts, options: Required<AbortOptions>): Promise<readonly Seen[]> {
  const { uid, find, hasTun } = parts;
  return [
    uid === 0 || find('sudo') !== undefined
      ? ok(uid === 0 ? 'this is root, which kpctl up needs' : 'kpctl up gets root by sudo')
      : note('there is no sudo here, and kpctl up needs root; kpctl run does not', 'become root by other means: su -c "kpctl up"'),
    ...(hasTun()
      ? []
      : [
          problem(
            `there is no ${TUN}: kpctl up cannot make its network device`,
            'sudo modprobe tun; in a container: --device /dev/net/tun',
          ),
        ]),
    await kernel(parts, options),
  ];
}

async function kernel({ release: version, tryRules, find, uid }: MachineParts, { signal }: Required<AbortOptions>): Promise<Seen> {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  if (major < OWNER_FLAG.major || (major === OWNER_FLAG.major && minor < OWNER_FLAG.minor)) {
    return problem(
      `Linux ${version} is too old for kpctl up: rules that end with their owner came with 5.12`,
      'use kpctl run, or a newer kernel',
    );
  }
  if (find('nft') === undefined || find('unshare') === undefined)
    return unknown('the rules of kpctl up were not tried: a program is missing');
  try {
    await Promise.race([
      tryRules(),
      delay(4_000, undefined, { signal, ref: false }).then(() => Promise.reject(new Error('nft does not answer'))),
    ]);
    return ok(`Linux ${version} takes all rules of kpctl up`);
  } catch (error) {
    const why =
      messageOf(error)
        .split('\n')
        .find((line) => line.trim() !== '') ?? 'it does not say why';
    if (uid !== 0 && /unshare|Operation not permitted|Permission denied/i.test(why)) {
      return note(
        `whether Linux ${version} takes the rules of kpctl up could not be tried without root (${why})`,
        'sudo kpctl doctor tries it',
      );
    }
    return problem(
      `Linux ${version} does not take the rules of kpctl up: ${why}`,
      'load what it lacks: sudo modprobe -a nf_tables nft_redir nft_tproxy nft_fib_inet nft_masq nft_ct; or use kpctl run',
    );
  }
}

function systemParts(): MachineParts {
  const uid = process.getuid?.() ?? 0;
  return {
    uid,
    release: release(),
    find: findProgram,
    hasTun: () => existsSync(TUN),
    tryRules: async () => {
      const port = { 4: 1, 6: 1 };
      const rules = captureRules({ local: port, containers: port, containerNames: port });
      const own = uid === 0 ? ['--net'] : ['--user', '--map-root-user', '--net'];
      await run(findProgram('unshare') ?? 'unshare', [...own, findProgram('nft') ?? 'nft', '-f', '-'], `${rules.join('\n')}\n`);
    },
  };
}

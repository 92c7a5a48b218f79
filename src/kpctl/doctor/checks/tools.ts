import { findProgram } from '../../../platform/programs.ts';
import type { Examination } from '../examination.ts';
import { note, ok, problem, type Seen } from '../finding.ts';
import type { Check } from '../run-checks.ts';

/** What `kpctl run` starts, and the Debian package of each. */
const programs = [
  { name: 'unshare', package: 'util-linux' },
  { name: 'nft', package: 'nftables' },
  { name: 'ip', package: 'iproute2' },
] as const;

/** The programs on this machine that commands start. */
export function toolsCheck(
  find: (name: string) => string | undefined = findProgram,
  platform: string = process.platform,
): Check<Examination> {
  return {
    id: 'tools',
    look: () => Promise.resolve(look(find, platform)),
  };
}

function look(find: (name: string) => string | undefined, platform: string): readonly Seen[] {
  if (platform !== 'linux') {
    return [problem(`kpctl run and demo need Linux, and this is ${platform}; intercept works`, 'use them in a virtual machine with Linux')];
  }
  const missing = programs.filter(({ name }) => find(name) === undefined);
  if (missing.length === 0) return [ok(programs.map(({ name }) => find(name)).join(', '))];
  const packages = [...new Set(missing.map((program) => program.package))].join(' ');
  return [
    problem(
      `kpctl run needs ${missing.map(({ name }) => name).join(' and ')}, not installed here; intercept works`,
      `on Debian or Ubuntu: sudo apt-get install ${packages}`,
    ),
    ...(find('iptables-restore') === undefined
      ? [note('iptables is not here either: kpctl demo needs it', 'sudo apt-get install iptables')]
      : []),
  ];
}

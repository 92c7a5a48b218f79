import { readFileSync } from 'node:fs';
import { execFileSync } from 'node:child_process';
import { Failure } from '../../platform/errors.ts';
import { requireProgram } from '../../platform/programs.ts';
import type { Caller } from '../../simulator/machine/index.ts';

/** What is looked at; tests give their own. */
export interface CallerSources {
  readonly uid: number;
  readonly parent: number;
  readonly environment: NodeJS.ProcessEnv;
  readonly directory: string;
  /** A file of /proc/PID; undefined: there is no such process, or it may not be read. */
  readonly processFile: (pid: number, name: 'status' | 'environ') => string | undefined;
  /** Its line of passwd(5), by uid or name. */
  readonly account: (user: string) => string | undefined;
  /** The groups that the system's database gives a user. */
  readonly groupsOf: (name: string) => readonly number[];
}

/** Variables that may be given on sudo's own command line: `sudo KUBECONFIG=… kpctl up`, `sudo --preserve-env=…`. */
const given = /^(KUBECONFIG|KPEERING_LOG|NODE_EXTRA_CA_CERTS|SSL_CERT_FILE|(HTTPS?|NO|ALL)_PROXY|(https?|no|all)_proxy)$/;

/** So many processes are looked at on the way up to sudo: with a terminal of its own (use_pty) it is two, and a wrapper may be between. */
const MOST_ANCESTORS = 16;

/**
 * The user behind sudo, else root itself. sudo strips the environment (KUBECONFIG, PATH with the credential plugins, proxies), so it is read from the sudo
 * process, which was started with the caller's. All of it has the caller's rights only: nothing here is used by root. Failures: ROOT_REQUIRED, CALLER_UNKNOWN.
 */
export function findCaller(sources: CallerSources = systemSources()): Caller {
  if (sources.uid !== 0) {
    throw new Failure('ROOT_REQUIRED', '"kpctl up" changes the network and the names of this machine, which needs root', {
      remedy:
        'run "sudo kpctl up": only a small helper keeps root, the rest runs as you; or join a single command without root: kpctl run -- COMMAND',
    });
  }
  const uid = Number(sources.environment['SUDO_UID']);
  const gid = Number(sources.environment['SUDO_GID']);
  if (!isId(sources.environment['SUDO_UID']) || !isId(sources.environment['SUDO_GID']) || uid === 0) return root(sources);
  const sudo = sudoAbove(sources);
  const environment = sudo === undefined ? {} : parseEnvironment(sources.processFile(sudo, 'environ') ?? '');
  const name = sources.environment['SUDO_USER'] ?? accountOf(sources, String(uid))?.name ?? environment['USER'];
  const home = environment['HOME'] ?? accountOf(sources, String(uid))?.home;
  if (name === undefined || home === undefined) {
    throw new Failure('CALLER_UNKNOWN', `nothing is known of the user with uid ${uid} who has called sudo`, {
      likely: "it has no entry in the system's user database",
      remedy: 'give that user an entry (getent passwd must know it), or run kpctl up as root itself, without sudo',
    });
  }
  const known = (sudo === undefined ? undefined : shellGroups(sources, sudo, uid)) ?? sources.groupsOf(name);
  const groups = known.includes(gid) ? known : [...known, gid];
  const own = Object.entries(sources.environment).filter(([key, value]) => given.test(key) && value !== undefined);
  return {
    uid,
    gid,
    groups,
    name,
    home,
    directory: sources.directory,
    environment: {
      PATH: '/usr/local/bin:/usr/bin:/bin',
      ...environment,
      HOME: home,
      USER: name,
      LOGNAME: name,
      ...Object.fromEntries(own.map(([key, value]) => [key, value ?? ''])),
    },
  };
}

/** Without sudo, or by root's own sudo: root's rights and environment. */
function root(sources: CallerSources): Caller {
  const home = sources.environment['HOME'] ?? accountOf(sources, '0')?.home ?? '/root';
  const environment = Object.fromEntries(
    Object.entries(sources.environment).filter((entry): entry is [string, string] => entry[1] !== undefined),
  );
  return { uid: 0, gid: 0, groups: [0], name: 'root', home, environment, directory: sources.directory };
}

function accountOf(sources: CallerSources, user: string): { readonly name: string; readonly home: string } | undefined {
  const [name = '', , , , , home = ''] = sources.account(user)?.split(':') ?? [];
  return name === '' || home === '' ? undefined : { name, home };
}

/** The sudo that has started this process, perhaps through a shell or another wrapper. */
function sudoAbove(sources: CallerSources): number | undefined {
  for (let pid = sources.parent, step = 0; pid > 1 && step < MOST_ANCESTORS; step += 1) {
    if (statusField(sources, pid, 'Name') === 'sudo') return pid;
    pid = Number(statusField(sources, pid, 'PPid') ?? 0);
  }
  return undefined;
}

/**
 * The groups of whoever started sudo: exactly those that its shell has, which may be older or newer than the user database. Only of a process that is the user's
 * in every respect: sudo itself has the user's real uid, and root's groups.
 */
function shellGroups(sources: CallerSources, sudo: number, uid: number): readonly number[] | undefined {
  for (let pid = sudo, step = 0; pid > 1 && step < MOST_ANCESTORS; step += 1) {
    const uids = statusField(sources, pid, 'Uid')?.split(/\s+/) ?? [];
    if (uids.length === 4 && uids.every((one) => Number(one) === uid)) {
      return (statusField(sources, pid, 'Groups') ?? '').split(/\s+/).filter(isId).map(Number);
    }
    pid = Number(statusField(sources, pid, 'PPid') ?? 0);
  }
  return undefined;
}

/** A field of /proc/PID/status (proc_pid_status(5)). */
function statusField(sources: CallerSources, pid: number, name: string): string | undefined {
  const line = sources
    .processFile(pid, 'status')
    ?.split('\n')
    .find((candidate) => candidate.startsWith(`${name}:`));
  return line?.slice(name.length + 1).trim();
}

/** The environment as /proc has it: `NAME=value`, each ended by a zero byte. */
function parseEnvironment(text: string): Record<string, string> {
  const pairs = text.split('\0').filter((entry) => entry.indexOf('=') > 0);
  return Object.fromEntries(pairs.map((entry) => [entry.slice(0, entry.indexOf('=')), entry.slice(entry.indexOf('=') + 1)]));
}

function isId(text: string | undefined): boolean {
  return text !== undefined && /^\d{1,10}$/.test(text);
}

function systemSources(): CallerSources {
  return {
    uid: process.geteuid?.() ?? -1,
    parent: process.ppid,
    environment: process.env,
    directory: process.cwd(),
    processFile: (pid, name) => {
      try {
        return readFileSync(`/proc/${pid}/${name}`, 'utf8');
      } catch {
        return undefined;
      }
    },
    account: (user) => {
      try {
        return execFileSync(requireProgram('getent', 'libc-bin'), ['passwd', user], { encoding: 'utf8' }).trim();
      } catch {
        return undefined;
      }
    },
    groupsOf: (name) => {
      try {
        return execFileSync(requireProgram('id', 'coreutils'), ['-G', '--', name], { encoding: 'utf8' }).trim().split(/\s+/).map(Number);
      } catch {
        return [];
      }
    },
  };
}

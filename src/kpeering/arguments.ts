import { parseArgs } from 'node:util';
import { ExitCode, Failure } from '../platform/errors.ts';
import { ports } from '../platform/ports.ts';
import { EVERYWHERE } from './health.ts';

/** What `kpeering` is told to do, by its command line and environment. */
export type Order =
  | ({ readonly command: 'sidecar' } & RoleFlags & SidecarFlags)
  | ({ readonly command: 'ephemeral' } & RoleFlags & EphemeralFlags)
  | ({ readonly command: 'gateway' } & RoleFlags)
  | ({ readonly command: 'operator'; readonly webhookPort: number } & Omit<RoleFlags, 'tunnelPort'>)
  | { readonly command: 'version' }
  | { readonly command: 'help'; readonly text: string };

export interface RoleFlags {
  readonly tunnelPort: number;
  readonly healthPort: number;
  readonly healthHost: string;
  readonly drainSeconds: number;
}

export interface SidecarFlags {
  readonly inboundPort: number;
  readonly graceSeconds: number;
  /** Whether laptops may dial from this pod. */
  readonly outbound: boolean;
}

export interface EphemeralFlags extends Pick<SidecarFlags, 'graceSeconds' | 'outbound'> {
  readonly idleSeconds: number;
}

interface Flag<T> {
  /** Long option without its dashes. */
  readonly name: string;
  readonly argument: string;
  readonly help: string;
  readonly variable: string;
  readonly fallback: T;
  readonly parse: (text: string) => T | undefined;
  /** What `parse` takes. */
  readonly form: string;
}

const flags = {
  tunnelPort: port('tunnel-port', 'the tunnel, on 127.0.0.1 only', ports.tunnel),
  // Not "webhook-port": Kubernetes sets KPEERING_WEBHOOK_PORT in every pod of a namespace with our Service.
  webhookPort: port('admission-port', 'where the API server asks about pods', ports.webhook),
  healthPort: port('health-port', '/healthz, /readyz and /metrics', ports.health),
  healthHost: {
    name: 'health-host',
    argument: 'address',
    help: 'the address of /healthz, /readyz and /metrics',
    variable: 'KPEERING_HEALTH_HOST',
    fallback: EVERYWHERE,
    parse: (text) => (text === '' ? undefined : text),
    form: 'an address',
  } satisfies Flag<string>,
  drainSeconds: seconds('drain-seconds', 'how long flows may go on after SIGTERM', 25),
  inboundPort: port('inbound-port', 'where the rules send inbound TCP', ports.inbound),
  idleSeconds: seconds('idle-seconds', 'how long it stays without a laptop', 3600),
  graceSeconds: seconds('grace-seconds', "how long a lost laptop's claims wait for it", 10),
  outbound: {
    name: 'outbound',
    argument: 'enabled|disabled',
    help: "whether laptops may dial with this pod's network identity",
    variable: 'KPEERING_OUTBOUND',
    fallback: true,
    parse: (text) => ({ enabled: true, disabled: false })[text],
    form: 'enabled or disabled',
  } satisfies Flag<boolean>,
} as const;

const ofRole = ['tunnelPort', 'healthPort', 'healthHost', 'drainSeconds'] as const;
const ofEphemeral = [...ofRole, 'idleSeconds', 'graceSeconds', 'outbound'] as const;
const ofSidecar = [...ofRole, 'inboundPort', 'graceSeconds', 'outbound'] as const;

const ofOperator = ['webhookPort', 'healthPort', 'healthHost', 'drainSeconds'] as const;

const ofCommand = { sidecar: ofSidecar, ephemeral: ofEphemeral, gateway: ofRole, operator: ofOperator } as const;

const commands = {
  sidecar: "captures the pod's flows, and takes each to the laptop that claims it, or to where it was going",
  ephemeral: 'a sidecar in an ephemeral container: makes its rules when something is claimed, and ends when it is not used',
  gateway: 'the exit for the outbound flows of laptops that name no workload',
  operator: 'injects kpeering into the pods that ask for it by a label',
  version: 'prints the version',
} as const;

/**
 * Reads the command line; what it does not say is the environment's to say. By node:util: a parser with more to offer takes 2.5 MB of
 * every idle sidecar (decision 0011). Throws a Failure `USAGE` (exit code 2).
 */
export function parseOrder(argv: readonly string[], environment: NodeJS.ProcessEnv): Order {
  const [command, ...rest] = argv;
  if (command === undefined || command === '--help' || command === '-h' || command === 'help') return { command: 'help', text: helpText() };
  if (command === 'version' || command === '--version' || command === '-V') return { command: 'version' };
  if (!isRole(command)) throw wrong(`there is no command "${command}"`);
  const names = ofCommand[command];
  const given = parse(rest, names);
  if (given['help'] === true) return { command: 'help', text: roleHelp(command, names) };
  function read<T>(flag: Flag<T>): T {
    const option = given[flag.name];
    const [text, where] = typeof option === 'string' ? [option, `--${flag.name}`] : [environment[flag.variable], flag.variable];
    if (text === undefined || (text === '' && typeof option !== 'string')) return flag.fallback;
    const value = flag.parse(text);
    if (value === undefined) throw wrong(`${where}: "${text}" is not ${flag.form}`);
    return value;
  }
  const role: RoleFlags = {
    tunnelPort: read(flags.tunnelPort),
    healthPort: read(flags.healthPort),
    healthHost: read(flags.healthHost),
    drainSeconds: read(flags.drainSeconds),
  };
  if (command === 'gateway') return { command, ...role };
  if (command === 'operator') {
    const { tunnelPort: _, ...rest } = role;
    return { command, ...rest, webhookPort: read(flags.webhookPort) };
  }
  const attached = { ...role, graceSeconds: read(flags.graceSeconds), outbound: read(flags.outbound) };
  if (command === 'ephemeral') return { command, ...attached, idleSeconds: read(flags.idleSeconds) };
  return { command, ...attached, inboundPort: read(flags.inboundPort) };
}

function parse(argv: readonly string[], names: readonly (keyof typeof flags)[]): Readonly<Record<string, string | boolean | undefined>> {
  const known = Object.fromEntries(names.map((name) => [flags[name].name, { type: 'string' } as const]));
  try {
    return parseArgs({ args: [...argv], options: { ...known, help: { type: 'boolean', short: 'h' } }, strict: true }).values;
  } catch (error) {
    throw wrong(error instanceof Error ? error.message : String(error));
  }
}

function helpText(): string {
  const list = Object.entries(commands).map(([name, help]) => `  ${name.padEnd(11)}${help}`);
  return `usage: kpeering COMMAND [OPTION]...\n\nThe part of kpeering that runs in the cluster.\n\n${list.join('\n')}\n\nkpeering COMMAND --help tells its options.\n`;
}

function isRole(command: string): command is keyof typeof ofCommand {
  return Object.hasOwn(ofCommand, command);
}

function roleHelp(command: keyof typeof ofCommand, names: readonly (keyof typeof flags)[]): string {
  const list = names.map((name) => {
    const { name: option, argument, help, variable, fallback } = flags[name];
    const value = fallback === true ? 'enabled' : fallback;
    return `  --${`${option} <${argument}>`.padEnd(28)}${help} (default: ${value}, or $${variable})`;
  });
  return `usage: kpeering ${command} [OPTION]...\n\n${commands[command]}\n\n${list.join('\n')}\n`;
}

function port(name: string, help: string, fallback: number): Flag<number> {
  const parsePort = (text: string): number | undefined => (/^\d{1,5}$/u.test(text) && Number(text) <= 65_535 ? Number(text) : undefined);
  return { name, argument: 'port', help, variable: variableOf(name), fallback, parse: parsePort, form: 'a port' };
}

function seconds(name: string, help: string, fallback: number): Flag<number> {
  const parseSeconds = (text: string): number | undefined => (/^\d{1,6}(\.\d+)?$/u.test(text) ? Number(text) : undefined);
  return { name, argument: 'seconds', help, variable: variableOf(name), fallback, parse: parseSeconds, form: 'a number of seconds' };
}

function variableOf(name: string): string {
  return `KPEERING_${name.toUpperCase().replaceAll('-', '_')}`;
}

function wrong(what: string): Failure {
  return new Failure('USAGE', what, { remedy: 'see kpeering --help', exitCode: ExitCode.usage });
}

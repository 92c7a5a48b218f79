import { Command, CommanderError, InvalidArgumentError, Option } from 'commander';
import { ExitCode, Failure } from '../platform/errors.ts';
import { createLogger, type Logger } from '../platform/log.ts';
import { ports } from '../platform/ports.ts';
import { version } from '../platform/version.ts';
import { Gateway } from './gateway.ts';
import { podName, type Role, type RoleOptions } from './role.ts';
import { Sidecar } from './sidecar.ts';

/** The cluster's program: the one place here that hears signals and ends the process. */
async function main(): Promise<number> {
  const program = new Command('kpeering')
    .description('The part of kpeering that runs in the cluster.')
    .version(version, '-V, --version')
    .showHelpAfterError('(see kpeering --help)')
    .exitOverride();
  let exitCode: number = ExitCode.done;

  withRoleOptions(program.command('sidecar'))
    .description("captures the pod's inbound flows, and takes them to the laptop that claims their port, or to the app")
    .addOption(portOption('--inbound-port <port>', 'where the rules send inbound TCP', ports.inbound, 'KPEERING_INBOUND_PORT'))
    .addOption(
      new Option('--grace-seconds <seconds>', "how long a lost laptop's claims wait for it")
        .env('KPEERING_GRACE_SECONDS')
        .default(10)
        .argParser(parseSeconds),
    )
    .action(async (options: RoleFlags & { inboundPort: number; graceSeconds: number }) => {
      const log = createLogger('kpeering');
      const { inboundPort, graceSeconds } = options;
      exitCode = await runRole(
        () => Sidecar.start({ ...roleOptions(options, log), inboundPort, graceMilliseconds: graceSeconds * 1000 }),
        options.drainSeconds,
        log,
      );
    });

  withRoleOptions(program.command('gateway'))
    .description('the exit for the outbound flows of laptops that name no workload')
    .action(async (options: RoleFlags) => {
      const log = createLogger('kpeering');
      exitCode = await runRole(() => Gateway.start(roleOptions(options, log)), options.drainSeconds, log);
    });

  program
    .command('version')
    .description('prints the version')
    .action(() => {
      process.stdout.write(`${version}\n`);
    });

  for (const command of program.commands) command.copyInheritedSettings(program);
  try {
    await program.parseAsync();
    return exitCode;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? ExitCode.done : ExitCode.usage;
    if (error instanceof Failure) {
      process.stderr.write(`kpeering: ${error.format()}\n`);
      return error.exitCode;
    }
    createLogger('kpeering').fatal({ err: error }, 'a bug in kpeering: please report it');
    return ExitCode.failed;
  }
}

interface RoleFlags {
  readonly tunnelPort: number;
  readonly healthPort: number;
  readonly healthHost: string;
  readonly drainSeconds: number;
}

function withRoleOptions(command: Command): Command {
  return command
    .addOption(portOption('--tunnel-port <port>', 'the tunnel, on 127.0.0.1 only', ports.tunnel, 'KPEERING_TUNNEL_PORT'))
    .addOption(portOption('--health-port <port>', '/healthz and /readyz', ports.health, 'KPEERING_HEALTH_PORT'))
    .addOption(new Option('--health-host <address>', 'the address of /healthz and /readyz').env('KPEERING_HEALTH_HOST').default('0.0.0.0'))
    .addOption(
      new Option('--drain-seconds <seconds>', 'how long flows may go on after SIGTERM')
        .env('KPEERING_DRAIN_SECONDS')
        .default(25)
        .argParser(parseSeconds),
    );
}

function portOption(flags: string, description: string, port: number, variable: string): Option {
  return new Option(flags, description).env(variable).default(port).argParser(parsePort);
}

function parsePort(text: string): number {
  const port = Number(text);
  if (!/^\d{1,5}$/u.test(text) || port > 65_535) throw new InvalidArgumentError('It is not a port.');
  return port;
}

function parseSeconds(text: string): number {
  if (!/^\d{1,6}(\.\d+)?$/u.test(text)) throw new InvalidArgumentError('It is not a number of seconds.');
  return Number(text);
}

function roleOptions({ tunnelPort, healthPort, healthHost }: RoleFlags, log: Logger): RoleOptions {
  return { tunnelPort, healthPort, healthHost, name: podName(process.env), log };
}

/**
 * Runs a role until SIGTERM or SIGINT: drains it to the deadline, then closes it. A second signal closes at once. In a pod
 * the kubelet ends native sidecars after the app's containers, so that what is left then is of no use to anybody.
 */
async function runRole(start: () => Promise<Role>, drainSeconds: number, log: Logger): Promise<number> {
  const first = Promise.withResolvers<NodeJS.Signals>();
  const second = Promise.withResolvers<NodeJS.Signals>();
  let heard = 0;
  function onSignal(signal: NodeJS.Signals): void {
    heard += 1;
    (heard === 1 ? first : second).resolve(signal);
  }
  // Before anything else: as PID 1 of a container a process without a handler ignores SIGTERM.
  process.on('SIGTERM', onSignal).on('SIGINT', onSignal);
  const role = await start();
  const signal = await first.promise;
  log.info({ signal, drainSeconds }, 'draining');
  let timer: NodeJS.Timeout | undefined;
  const outcome = await Promise.race([
    role.drain().then(() => 'all flows have ended'),
    second.promise.then(() => 'a second signal came'),
    new Promise<string>((resolve) => (timer = setTimeout(() => resolve('the deadline has passed'), drainSeconds * 1000))),
  ]);
  clearTimeout(timer);
  log.info({ outcome }, 'closing');
  await Promise.race([role.close(), second.promise]);
  return ExitCode.done;
}

process.exit(await main());

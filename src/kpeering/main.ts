import { ExitCode, Failure } from '../platform/errors.ts';
import { createLogger, type Logger } from '../platform/log.ts';
import { version } from '../platform/version.ts';
import { parseOrder, type RoleFlags } from './arguments.ts';
import { podName, type Role, type RoleOptions } from './role.ts';

/** The cluster's program: the one place here that hears signals and ends the process. */
async function main(): Promise<number> {
  try {
    const order = parseOrder(process.argv.slice(2), process.env);
    switch (order.command) {
      case 'sidecar': {
        const { Sidecar } = await import('./sidecar.ts');
        const log = createLogger('kpeering');
        const { inboundPort, graceSeconds, outbound: dials } = order;
        const options = { ...roleOptions(order, log), inboundPort, dials, graceMilliseconds: graceSeconds * 1000 };
        return await runRole(() => Sidecar.start(options), order.drainSeconds, log);
      }
      case 'ephemeral': {
        const { Ephemeral } = await import('./ephemeral.ts');
        const log = createLogger('kpeering');
        const { graceSeconds, outbound: dials, idleSeconds } = order;
        const options = { ...roleOptions(order, log), dials, graceMilliseconds: graceSeconds * 1000, idleMilliseconds: idleSeconds * 1000 };
        return await runRole(() => Ephemeral.start(options), order.drainSeconds, log);
      }
      case 'gateway': {
        const { Gateway } = await import('./gateway.ts');
        const log = createLogger('kpeering');
        return await runRole(() => Gateway.start(roleOptions(order, log)), order.drainSeconds, log);
      }
      case 'operator': {
        const { OperatorRole } = await import('./operator.ts');
        const log = createLogger('kpeering');
        const { webhookPort, healthHost, healthPort } = order;
        const options = { webhookPort, healthHost, healthPort, environment: process.env, log };
        return await runRole((signal) => OperatorRole.start(options, signal), order.drainSeconds, log);
      }
      case 'help':
        process.stdout.write(order.text);
        return ExitCode.done;
      case 'version':
        process.stdout.write(`${version}\n`);
        return ExitCode.done;
    }
  } catch (error) {
    if (error instanceof Failure) {
      process.stderr.write(`kpeering: ${error.format()}\n`);
      return error.exitCode;
    }
    createLogger('kpeering').fatal({ err: error }, 'a bug in kpeering: please report it');
    return ExitCode.failed;
  }
}

function roleOptions({ tunnelPort, healthPort, healthHost }: RoleFlags, log: Logger): RoleOptions {
  return { tunnelPort, healthPort, healthHost, name: podName(process.env), log };
}

/**
 * Runs a role until SIGTERM or SIGINT, or its own end: drains it to the deadline, then closes it. A second signal closes at once. In a pod
 * the kubelet ends native sidecars after the app's containers, so that what is left then is of no use to anybody.
 */
async function runRole(start: (signal: AbortSignal) => Promise<Role>, drainSeconds: number, log: Logger): Promise<number> {
  const first = Promise.withResolvers<NodeJS.Signals>();
  const second = Promise.withResolvers<NodeJS.Signals>();
  const starting = new AbortController();
  let heard = 0;
  function onSignal(signal: NodeJS.Signals): void {
    heard += 1;
    (heard === 1 ? first : second).resolve(signal);
    starting.abort();
  }
  // Before anything else: as PID 1 of a container a process without a handler ignores SIGTERM.
  process.on('SIGTERM', onSignal).on('SIGINT', onSignal);
  let role: Role;
  try {
    role = await start(starting.signal);
  } catch (error) {
    if (!starting.signal.aborted) throw error;
    log.info('ended before it had started');
    return ExitCode.done;
  }
  const signal = await Promise.race([first.promise, ...(role.finished === undefined ? [] : [role.finished])]);
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

import type { ChildProcess } from 'node:child_process';
import { createSocket, type Socket as DatagramSocket } from 'node:dgram';
import { writeFileSync } from 'node:fs';
import { connect, type Server, type Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { messageOf, systemCode } from '../../../platform/errors.ts';
import { privateNetworkAddresses as addresses } from '../addresses.ts';
import type { FromInside, SetUpStep, ToInside } from '../messages.ts';
import { captureRules, interfaceBatch } from '../rules.ts';
import { processGroupOf, startCommand } from './command.ts';
import { coverEtc, coverNameServices, laterStaging } from './files.ts';
import { openListeners } from './listeners.ts';
import { run } from './run.ts';
import { endProcessesIn, networkOf } from './survivors.ts';
import type { Volumes } from './volumes.ts';

/**
 * The helper inside the private network: the first process in its namespaces, started by kpctl through unshare(1). It
 * sets the network up, hands the listening sockets to kpctl, starts COMMAND, and is idle from then on but for COMMAND's datagrams and for
 * new connections into the network. It outlives a killed kpctl (its IPC channel closes) long enough to end COMMAND.
 *
 * Descriptors 0 and 1 are COMMAND's; 2 is a pipe to kpctl, for what goes wrong here; 4 is COMMAND's stderr; 5 is a pipe to kpctl for datagrams.
 */
const commandStderr = 4;
const datagramPipe = 5;
/** Asked for; the kernel gives as much as net.core.rmem_max allows. */
const RECEIVE_BUFFER_BYTES = 4 * 1024 * 1024;
/** How long what runs inside has between SIGTERM and SIGKILL, in milliseconds. */
const endGrace = 2000;
/** How long a process that has ended may take to be heard of here, in milliseconds. */
const lastWords = 1000;

let setUp: Extract<ToInside, { type: 'set-up' }> | undefined;
let command: ChildProcess | undefined;
/** Resolves when kpctl has been told how COMMAND ended. */
let told: Promise<void> | undefined;

function send(message: FromInside, handle?: Server | Socket | DatagramSocket): Promise<void> {
  return new Promise((resolve) => {
    // kpctl is gone: `disconnect` follows, and ends this process.
    if (!process.connected) resolve();
    else process.send?.(message, handle, {}, () => resolve());
  });
}

async function prepare(request: Extract<ToInside, { type: 'set-up' }>): Promise<void> {
  setUp = request;
  let step: SetUpStep = 'interface';
  try {
    const { ip, nft } = request.programs;
    const rules = run(nft, ['-f', '-'], captureRules(request));
    const device = run(ip, ['-batch', '-'], interfaceBatch(request));
    // Loaded while those two work.
    const datagrams = import('./datagrams.ts');
    // A rejection is reported by its own step below.
    datagrams.catch(() => undefined);
    rules.catch(() => undefined);
    device.catch(() => undefined);
    await device;
    allowLowPorts();
    step = 'rules';
    await rules;
    step = 'listeners';
    (await datagrams).carryDatagramsOfCommand({ ipv6: request.ipv6, descriptor: datagramPipe });
    await openListeners({ ipv6: request.ipv6, handOver: (purpose, listener) => send({ type: 'listener', purpose }, listener) });
    await send({ type: 'ready' });
  } catch (error) {
    await send({ type: 'set-up-failed', step, message: messageOf(error) });
    process.exit(1);
  }
}

/** As in a pod: a program may listen on port 80 without being root (ip-sysctl: ip_unprivileged_port_start). */
function allowLowPorts(): void {
  try {
    writeFileSync('/proc/sys/net/ipv4/ip_unprivileged_port_start', '0');
  } catch {
    // /proc/sys is read-only in most containers: then it stays as it is everywhere.
  }
}

function start({ command: argv, environment, directory }: Extract<ToInside, { type: 'start' }>): void {
  const notStarted = (error: unknown): void => {
    void send({ type: 'not-started', code: systemCode(error) ?? 'UNKNOWN', message: messageOf(error) });
  };
  try {
    const dropCapabilities = setUp?.dropCapabilities ?? true;
    const child = startCommand({ command: argv, environment, directory, stderr: commandStderr, dropCapabilities });
    const ended = Promise.withResolvers<void>();
    told = ended.promise;
    child.on('error', (error) => {
      if (child.pid !== undefined) return;
      notStarted(error);
      ended.resolve();
    });
    child.on('spawn', () => {
      command = child;
      void send({ type: 'started', pid: child.pid ?? 0 });
    });
    child.on('exit', (code, signal) => void send({ type: 'exited', code, signal }).then(ended.resolve));
  } catch (error) {
    notStarted(error);
  }
}

async function setNames({ id, resolvConf }: Extract<ToInside, { type: 'set-names' }>): Promise<void> {
  try {
    coverEtc(resolvConf);
    coverNameServices(resolvConf);
    await send({ type: 'names-set', id });
  } catch (error) {
    await send({ type: 'names-set', id, problem: messageOf(error) });
  }
}

let volumes: Promise<Volumes> | undefined;

async function mountVolumes({ id, ...request }: Extract<ToInside, { type: 'mount-volumes' }>): Promise<void> {
  volumes = import('./volumes.ts').then((module) => new module.Volumes(request, laterStaging));
  try {
    await send({ type: 'volumes-mounted', id, problems: (await volumes).problems });
  } catch (error) {
    await send({ type: 'volumes-failed', id, message: messageOf(error) });
  }
}

async function updateVolume({ name, files }: Extract<ToInside, { type: 'update-volume' }>): Promise<void> {
  try {
    (await volumes)?.update(name, files);
  } catch (error) {
    // Told by kpctl, in its log: the files stay as they were.
    process.stderr.write(`volume ${name}: ${messageOf(error)}\n`);
  }
}

/** Makes a connection in this network and hands it over before a byte of it has been read. */
function connectFor({ id, address, port }: Extract<ToInside, { type: 'connect' }>): void {
  const localAddress = address.includes(':') ? {} : { localAddress: addresses.entry };
  const socket = connect({ host: address, port, ...localAddress, allowHalfOpen: true, noDelay: true });
  socket.pause();
  socket.on('connect', () => void send({ type: 'connected', id }, socket));
  socket.on('error', (error) => void send({ type: 'not-connected', id, code: systemCode(error) ?? 'UNKNOWN' }));
}

/** Opens a UDP socket in this network and hands it over, bound to the address from which nothing is captured. */
function datagramsFor({ id }: Extract<ToInside, { type: 'open-datagrams' }>): void {
  const socket = createSocket({ type: 'udp4', recvBufferSize: RECEIVE_BUFFER_BYTES });
  socket.on('error', (error) => void send({ type: 'not-connected', id, code: systemCode(error) ?? 'UNKNOWN' }));
  socket.bind({ address: addresses.entry, exclusive: true }, () => {
    void send({ type: 'datagrams', id }, socket).then(() => socket.close());
  });
}

let closing: Promise<never> | undefined;

function close(): void {
  closing ??= (async () => {
    await endProcessesIn(networkOf('self') ?? '', { grace: endGrace });
    // COMMAND is gone, and its exit may not have been seen in this event loop yet.
    await Promise.race([told, delay(lastWords)]);
    process.exit(0);
  })();
  // Nothing in it throws; a rejection would be a bug, and ends the process as such.
  void closing;
}

/** Signals that came to this process, with their `performance.now()` times, and that kpctl has not spoken of yet. */
const seen = new Map<NodeJS.Signals, number[]>();
/** A signal for the whole process group is at most this much older than what kpctl says about it, in milliseconds. */
const sameSignal = 1000;

/** A signal of the terminal, or for the whole process group: COMMAND has it too, unless it made a group of its own. */
function onGroupSignal(name: NodeJS.Signals): void {
  if (command?.pid !== undefined && processGroupOf(command.pid) !== processGroupOf('self')) command.kill(name);
  seen.set(name, [...(seen.get(name) ?? []), performance.now()]);
}

/**
 * kpctl got a signal. Unless it was for the whole group, COMMAND gets it from here. The kernel has signalled all of a
 * group before kpctl could write its message, so this process's own has arrived, and is handled in this turn of the
 * event loop or the next.
 */
async function forwardSignal(name: NodeJS.Signals): Promise<void> {
  await delay(10);
  const times = (seen.get(name) ?? []).filter((time) => performance.now() - time < sameSignal);
  const own = times.shift();
  seen.set(name, times);
  if (own === undefined) command?.kill(name);
}

function onMessage(message: unknown): void {
  if (!isRequest(message)) return;
  switch (message.type) {
    case 'set-up':
      void prepare(message);
      break;
    case 'start':
      start(message);
      break;
    case 'set-names':
      void setNames(message);
      break;
    case 'mount-volumes':
      void mountVolumes(message);
      break;
    case 'update-volume':
      void updateVolume(message);
      break;
    case 'connect':
      connectFor(message);
      break;
    case 'open-datagrams':
      datagramsFor(message);
      break;
    case 'signal':
      void forwardSignal(message.name);
      break;
    case 'close':
      close();
      break;
  }
}

/** See `messages.ts` for why the tag is enough. */
function isRequest(message: unknown): message is ToInside {
  return typeof message === 'object' && message !== null && 'type' in message && typeof message.type === 'string';
}

// Handlers, so that none of these ends the helper (SIGUSR1 would start Node's debugger).
for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT', 'SIGUSR1', 'SIGUSR2'] as const) process.on(name, () => onGroupSignal(name));
process.on('message', onMessage);
process.on('disconnect', close);

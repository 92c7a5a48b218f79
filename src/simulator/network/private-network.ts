import type { Socket as DatagramSocket } from 'node:dgram';
import { readFileSync } from 'node:fs';
import type { Server, Socket } from 'node:net';
import type { FlowHandler } from '../../interceptor/types.ts';
import type { AbortOptions } from '../../platform/abort.ts';
import { ExitCode, Failure } from '../../platform/errors.ts';
import type { Logger } from '../../platform/log.ts';
import type { Closeable } from '../../platform/owned.ts';
import type { Endpoint } from '../../tunnel/types.ts';
import { CapturedDatagrams, type AssociationHandler, type CapturedCounters } from './captured-datagrams.ts';
import { ForwardedPorts, type UnavailablePort } from './forwarded-ports.ts';
import { InsideProcess, type InsideHandlers, type Listeners } from './inside-process.ts';
import { ListeningPortsWatch } from './listening-ports.ts';
import { RefusedDatagrams } from './refused-datagrams.ts';
import { notStartedFailure, type CommandExit, type CommandLine } from './running-command.ts';

export interface PrivateNetworkOptions {
  /** COMMAND and its arguments; found as execvp(3) does, by PATH of `environment`. */
  readonly command: readonly string[];
  readonly environment: NodeJS.ProcessEnv;
  /** Default: this process's. */
  readonly cwd?: string;
  /** Text of COMMAND's /etc/resolv.conf; its nameserver is `privateNetworkAddresses.dns`. */
  readonly resolvConf: string;
  /**
   * Called for every TCP connection that does not end inside. A destination in 127.0.0.0/8 means the laptop's own
   * loopback. COMMAND's `connect` has succeeded already: a failed dial is told by a reset.
   */
  readonly onFlow: FlowHandler;
  /**
   * Opens what carries a UDP association that does not end inside (DNS over IPv4 does): for the first datagram between two endpoints, and for the
   * first one after it has ended or been idle for 60 s. A destination in 127.0.0.0/8 means the laptop's own loopback.
   */
  readonly onAssociation: AssociationHandler;
  /** Called once per destination whose UDP the network's own rules refuse: DNS servers with an IPv6 address. */
  readonly onDatagramRefused: (destination: Endpoint) => void;
  /** Called once per port on which COMMAND listens and which the laptop's 127.0.0.1 cannot have. */
  readonly onPortUnavailable?: (port: UnavailablePort) => void;
  /** Called after the ports of COMMAND that are reachable on the laptop's 127.0.0.1 have changed. */
  readonly onPortsChanged?: (ports: readonly number[]) => void;
  /**
   * Whether IPv6 destinations are captured. If not they have no route, so that programs turn to IPv4 at once. Default:
   * whether the laptop has a default route for IPv6. ::1 is never captured: what nobody inside serves there is refused.
   */
  readonly ipv6?: boolean;
  /** Descriptors that COMMAND gets as stdin, stdout and stderr. Default: this process's own. */
  readonly stdio?: readonly [number, number, number];
  readonly log: Logger;
}

/** A network namespace for one command, whose traffic arrives in this process. */
export interface PrivateNetwork extends Closeable {
  /** Bound to `privateNetworkAddresses.dns`, port 53; also gets what COMMAND sends to port 53 of any other IPv4 address. */
  readonly dnsUdp: DatagramSocket;
  readonly dnsTcp: Server;
  /** Starts COMMAND. Rejects with a Failure: exit code 127 (not found), 126 (not executable), 125 (anything else). Once. */
  start(): Promise<RunningCommand>;
  /** A connection to a port on which something inside listens, with nothing read yet. Rejects with an error that has a `code`. */
  connect(port: number): Promise<Socket>;
  /** A UDP socket inside, bound and not connected: for what listens there on UDP. Rejects with an error that has a `code`. */
  openDatagrams(): Promise<DatagramSocket>;
  /** What became of COMMAND's datagrams so far. */
  readonly datagrams: CapturedCounters;
  /** Ends COMMAND and all it has left behind (SIGTERM, 2 s later SIGKILL), then removes the network. */
  close(): Promise<void>;
}

export interface RunningCommand {
  readonly pid: number;
  /** How it ended. Rejects with a Failure (125) when the network itself was lost; COMMAND has been ended then. */
  readonly exited: Promise<CommandExit>;
  /** Ports of COMMAND that are reachable on the laptop's 127.0.0.1 now. */
  readonly ports: readonly number[];
  /**
   * Delivers a signal that this process got. If the whole process group got it (Ctrl-C), COMMAND has it already and
   * this does nothing.
   */
  signal(name: NodeJS.Signals): void;
}

/** How often the network is looked at, in milliseconds: a new port is reachable, and a refusal told, within that. */
const checkInterval = 200;

/**
 * Makes a network namespace for a command: in a user namespace of its own for an ordinary user, directly for root.
 * Rejects with a Failure (exit code 125; 1 for missing programs) that says what this machine lacks, and leaves nothing then.
 */
export async function startPrivateNetwork(options: PrivateNetworkOptions, { signal }: AbortOptions = {}): Promise<PrivateNetwork> {
  const events: NetworkEvents = { started: Promise.withResolvers(), exited: Promise.withResolvers() };
  // Whoever starts COMMAND sees these; without COMMAND nobody does.
  events.started.promise.catch(() => undefined);
  events.exited.promise.catch(() => undefined);
  const line = { command: options.command, environment: options.environment, directory: options.cwd ?? process.cwd() };
  const inside = new InsideProcess(options.stdio ?? [0, 1, 2], handlersFor(line, events, options.log));
  try {
    const ipv6 = options.ipv6 ?? hasIpv6DefaultRoute();
    const listeners = await inside.setUp({ ipv6, resolvConf: options.resolvConf }, { ...(signal !== undefined && { signal }) });
    const pipe = inside.datagrams;
    if (pipe === undefined) throw new Error('the pipe of datagrams is missing');
    const datagrams = new CapturedDatagrams({ pipe, pid: inside.pid, onAssociation: options.onAssociation });
    return new Network(options, { line, inside, listeners, datagrams, events });
  } catch (error) {
    await inside.close();
    throw error;
  }
}

interface NetworkEvents {
  readonly started: PromiseWithResolvers<number>;
  readonly exited: PromiseWithResolvers<CommandExit>;
}

function handlersFor(line: CommandLine, { started, exited }: NetworkEvents, log: Logger): InsideHandlers {
  return {
    log,
    onMessage: (message) => {
      switch (message.type) {
        case 'started':
          started.resolve(message.pid);
          break;
        case 'not-started':
          started.reject(notStartedFailure(line, message.code));
          break;
        case 'exited':
          exited.resolve(message.signal === null ? { code: message.code ?? 0 } : { signal: message.signal });
          break;
      }
    },
    onLost: (reason) => {
      const failure = new Failure('PRIVATE_NETWORK_LOST', "the command's private network was lost", {
        likely: `its helper process was killed: ${reason}`,
        exitCode: ExitCode.kpctlFailed,
      });
      started.reject(failure);
      exited.reject(failure);
    },
  };
}

/** What a network is made of, each ready. */
interface NetworkParts {
  readonly line: CommandLine;
  readonly inside: InsideProcess;
  readonly listeners: Listeners;
  readonly datagrams: CapturedDatagrams;
  readonly events: NetworkEvents;
}

class Network implements PrivateNetwork {
  readonly dnsUdp: DatagramSocket;
  readonly dnsTcp: Server;
  readonly #line: CommandLine;
  readonly #inside: InsideProcess;
  readonly #datagrams: CapturedDatagrams;
  readonly #events: NetworkEvents;
  readonly #log: Logger;
  readonly #forwarded: ForwardedPorts;
  readonly #ports: ListeningPortsWatch;
  readonly #refused: RefusedDatagrams;
  #timer: NodeJS.Timeout | undefined;
  #closing: Promise<void> | undefined;

  constructor(options: PrivateNetworkOptions, { line, inside, listeners, datagrams, events }: NetworkParts) {
    this.dnsUdp = listeners.dnsUdp;
    this.dnsTcp = listeners.dnsTcp;
    this.#line = line;
    this.#inside = inside;
    this.#datagrams = datagrams;
    this.#events = events;
    this.#log = options.log;
    for (const server of listeners.flows) server.on('connection', (socket: Socket) => this.#flow(socket, options.onFlow));
    this.#forwarded = new ForwardedPorts({
      connect: (address, port) => inside.connect(address, port),
      onUnavailable: (port) => options.onPortUnavailable?.(port),
      onChange: (ports) => options.onPortsChanged?.(ports),
    });
    this.#ports = new ListeningPortsWatch(inside.pid, (ports) => void this.#forwarded.update(ports));
    this.#refused = new RefusedDatagrams({
      pid: inside.pid,
      list: () => inside.listRefused(),
      onRefused: (destination) => options.onDatagramRefused(destination),
    });
  }

  async start(): Promise<RunningCommand> {
    const environment: Record<string, string> = {};
    for (const [name, value] of Object.entries(this.#line.environment)) if (value !== undefined) environment[name] = value;
    this.#inside.send({ type: 'start', command: this.#line.command, environment, directory: this.#line.directory });
    const pid = await this.#events.started.promise;
    this.#timer = setInterval(() => void this.#check(), checkInterval);
    const forwarded = this.#forwarded;
    const exited = this.#exit();
    // Whoever does not wait for it does not want to know.
    exited.catch(() => undefined);
    return {
      pid,
      exited,
      get ports() {
        return forwarded.ports;
      },
      signal: (name) => this.#inside.send({ type: 'signal', name }),
    };
  }

  get datagrams(): CapturedCounters {
    return this.#datagrams.counters;
  }

  openDatagrams(): Promise<DatagramSocket> {
    return this.#inside.openDatagrams();
  }

  connect(port: number): Promise<Socket> {
    return this.#forwarded.connect(port);
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #close(): Promise<void> {
    clearInterval(this.#timer);
    await Promise.all([this.#forwarded.close(), this.#datagrams.close()]);
    this.#log.debug(this.#datagrams.counters, 'datagrams');
    await this.#inside.close();
  }

  /** What the last datagrams were refused is told before the end is. */
  async #exit(): Promise<CommandExit> {
    try {
      return await this.#events.exited.promise;
    } catch (error) {
      await this.close();
      throw error;
    } finally {
      clearInterval(this.#timer);
      await this.#refused.check();
    }
  }

  async #check(): Promise<void> {
    await Promise.all([this.#ports.check(), this.#refused.check()]);
  }

  #flow(socket: Socket, onFlow: FlowHandler): void {
    const { remoteAddress, remotePort, localAddress, localPort } = socket;
    if (remoteAddress === undefined || remotePort === undefined || localAddress === undefined || localPort === undefined) {
      // The client has gone already.
      socket.destroy();
      return;
    }
    const destination = { address: localAddress, port: localPort };
    if (destination.port === 53) {
      // IPv6: the rules send only IPv4 to the resolver's own listener.
      this.dnsTcp.emit('connection', socket);
      socket.resume();
      return;
    }
    this.#log.debug({ destination }, 'flow');
    onFlow({ socket, source: { address: remoteAddress, port: remotePort }, destination });
  }
}

/** Whether this machine has a default route for IPv6 (`/proc/net/ipv6_route`: destination, prefix length, …, flags, device). */
export function hasIpv6DefaultRoute(routes: string = readRoutes()): boolean {
  const rejecting = 0x0200;
  return routes.split('\n').some((line) => {
    const fields = line.trim().split(/\s+/);
    const isDefault = fields[0] === '0'.repeat(32) && fields[1] === '00';
    return isDefault && fields[9] !== 'lo' && (Number.parseInt(fields[8] ?? '0', 16) & rejecting) === 0;
  });
}

function readRoutes(): string {
  try {
    return readFileSync('/proc/net/ipv6_route', 'utf8');
  } catch {
    return '';
  }
}

import type { Socket as DatagramSocket } from 'node:dgram';
import type { Server, Socket } from 'node:net';
import type { FlowHandler } from '../../interceptor/types.ts';
import type { AbortOptions } from '../../platform/abort.ts';
import { ExitCode, Failure } from '../../platform/errors.ts';
import type { Logger } from '../../platform/log.ts';
import type { Closeable } from '../../platform/owned.ts';
import type { Endpoint } from '../../tunnel/types.ts';
import { CapturedDatagrams, type AssociationHandler, type CapturedCounters } from '../datagrams/captured.ts';
import { capturePort } from './addresses.ts';
import { ForwardedPorts, type UnavailablePort } from './forwarded-ports.ts';
import { InsideProcess, type InsideHandlers, type Listeners, type VolumesToMount } from './inside-process.ts';
import { hasIpv6DefaultRoute } from './ipv6-route.ts';
import { ListeningPortsWatch } from './listening-ports.ts';
import type { WrittenFile } from './messages.ts';
import { namesRefused } from './names-refused.ts';
import { notStartedFailure, type CommandExit } from './running-command.ts';

/** What is to be run. */
export interface CommandOptions {
  /** COMMAND and its arguments; found as execvp(3) does, by PATH of `environment`. */
  readonly command: readonly string[];
  readonly environment: NodeJS.ProcessEnv;
  /** Default: this process's. */
  readonly cwd?: string;
}

export interface PrivateNetworkOptions {
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
  /** A process in the network, whose /proc/PID/net is COMMAND's. */
  readonly insidePid: number;
  /** Sets the text of COMMAND's /etc/resolv.conf, whose nameserver is `privateNetworkAddresses.dns`; before the rest, once. Rejects with a Failure. */
  setNames(resolvConf: string): Promise<void>;
  /**
   * Puts volumes at their paths, in COMMAND's mount namespace only; before `start`, once. Answers what could not be mounted, a sentence each. Rejects
   * with the Failure VOLUMES_NOT_MOUNTED.
   */
  mountVolumes(volumes: VolumesToMount): Promise<readonly string[]>;
  /** Replaces a mounted volume's files, all at once. What a subPath has mounted stays as it is. */
  updateVolume(name: string, files: readonly WrittenFile[]): void;
  /** Starts COMMAND. Rejects with a Failure: exit code 127 (not found), 126 (not executable), 125 (anything else). Once. */
  start(command: CommandOptions): Promise<RunningCommand>;
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

/** How often the network is looked at, in milliseconds: a new port is reachable within that. */
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
  const inside = new InsideProcess(options.stdio ?? [0, 1, 2], handlersFor(events, options.log));
  try {
    const ipv6 = options.ipv6 ?? hasIpv6DefaultRoute();
    const listeners = await inside.setUp({ ipv6 }, { ...(signal !== undefined && { signal }) });
    const pipe = inside.datagrams;
    if (pipe === undefined) throw new Error('the pipe of datagrams is missing');
    const datagrams = new CapturedDatagrams({
      pipe,
      pid: inside.pid,
      ports: [capturePort],
      onAssociation: namesRefused(options.onAssociation, options.onDatagramRefused),
    });
    return new Network(options, { inside, listeners, datagrams, events });
  } catch (error) {
    await inside.close();
    throw error;
  }
}

interface NetworkEvents {
  readonly started: PromiseWithResolvers<number>;
  readonly exited: PromiseWithResolvers<CommandExit>;
}

function handlersFor({ started, exited }: NetworkEvents, log: Logger): InsideHandlers {
  return {
    log,
    onMessage: (message) => {
      switch (message.type) {
        case 'started':
          started.resolve(message.pid);
          break;
        case 'not-started':
          started.reject(new NotStarted(message.code));
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

/** `code` is Node's name of the error. */
class NotStarted extends Error {
  readonly code: string;

  constructor(code: string) {
    super(code);
    this.code = code;
  }
}

/** What a network is made of, each ready. */
interface NetworkParts {
  readonly inside: InsideProcess;
  readonly listeners: Listeners;
  readonly datagrams: CapturedDatagrams;
  readonly events: NetworkEvents;
}

class Network implements PrivateNetwork {
  readonly dnsUdp: DatagramSocket;
  readonly dnsTcp: Server;
  readonly #inside: InsideProcess;
  readonly #datagrams: CapturedDatagrams;
  readonly #events: NetworkEvents;
  readonly #log: Logger;
  readonly #forwarded: ForwardedPorts;
  readonly #ports: ListeningPortsWatch;
  #timer: NodeJS.Timeout | undefined;
  #closing: Promise<void> | undefined;

  constructor(options: PrivateNetworkOptions, { inside, listeners, datagrams, events }: NetworkParts) {
    this.dnsUdp = listeners.dnsUdp;
    this.dnsTcp = listeners.dnsTcp;
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
  }

  async start({ command, environment, cwd = process.cwd() }: CommandOptions): Promise<RunningCommand> {
    const variables: Record<string, string> = {};
    for (const [name, value] of Object.entries(environment)) if (value !== undefined) variables[name] = value;
    this.#inside.send({ type: 'start', command, environment: variables, directory: cwd });
    const pid = await this.#events.started.promise.catch((error: unknown) => {
      throw error instanceof NotStarted ? notStartedFailure({ command, environment, directory: cwd }, error.code) : error;
    });
    this.#timer = setInterval(() => void this.#ports.check(), checkInterval);
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

  setNames(resolvConf: string): Promise<void> {
    return this.#inside.setNames(resolvConf);
  }

  mountVolumes(volumes: VolumesToMount): Promise<readonly string[]> {
    return this.#inside.mountVolumes(volumes);
  }

  updateVolume(name: string, files: readonly WrittenFile[]): void {
    this.#inside.updateVolume(name, files);
  }

  get insidePid(): number {
    return this.#inside.pid;
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

  async #exit(): Promise<CommandExit> {
    try {
      return await this.#events.exited.promise;
    } catch (error) {
      await this.close();
      throw error;
    } finally {
      clearInterval(this.#timer);
    }
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

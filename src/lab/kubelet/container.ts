import { spawn, type ChildProcess } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { messageOf } from '../../platform/errors.ts';
import type { Container, ContainerState, ContainerStatus, Probe } from '../objects/schemas.ts';
import { tryProbe } from './probe.ts';

export interface ContainerOptions {
  readonly container: Container;
  /** The program, from the image or the manifest; undefined: the lab has no such image. */
  readonly argv: readonly string[] | undefined;
  /** Put before a program: enters the pod. */
  readonly prefix: readonly string[];
  /** Put before the container's own, after that: its volumes and privileges. Throws an Error for what the kubelet would refuse. */
  readonly setUp: () => readonly string[];
  readonly address: string;
  /** Computed anew at each start, as the kubelet does. Rejects where a ConfigMap or Secret is missing. */
  readonly environment: () => Promise<Readonly<Record<string, string>>>;
  /** Where stdout and stderr go. */
  readonly log: string;
  /** Whether it is started again after it ended with that code. */
  readonly restarts: (code: number) => boolean;
  /** The first wait before a second restart; doubled each time, up to five minutes. The first restart is at once. */
  readonly backoffMilliseconds: number;
  /** Called after each change of `status`. */
  readonly changed: () => void;
}

/** How often a container that has not been ready yet is asked: the kubelet, too, asks out of turn at the start. */
const EAGER_MILLISECONDS = 100;
const LONGEST_BACKOFF = 300_000;
/** A container that ran as long starts its back-off anew. */
const STABLE_MILLISECONDS = 600_000;

/** One container of a pod: its process, restarts and probes. */
export class ManagedContainer {
  status: ContainerStatus;
  /** Resolves once the container has started (its startup probe, if any, has succeeded), or is over. */
  readonly started: Promise<void>;
  readonly #options: ContainerOptions;
  readonly #stopping = new AbortController();
  #resolveStarted: () => void = () => {};
  #process: ChildProcess | undefined;
  #exited: Promise<void> = Promise.resolve();

  constructor(options: ContainerOptions) {
    this.#options = options;
    const { name, image } = options.container;
    this.status = {
      name,
      image,
      imageID: image,
      ready: false,
      started: false,
      restartCount: 0,
      state: { waiting: { reason: 'PodInitializing' } },
      lastState: {},
    };
    this.started = new Promise((resolve) => {
      this.#resolveStarted = resolve;
    });
  }

  /** Runs it until it ends for good. Resolves with its last exit code; -1 when it never could start. */
  async run(): Promise<number> {
    let backoff = 0;
    let code = -1;
    try {
      while (!this.#stopping.signal.aborted) {
        const began = Date.now();
        const outcome = await this.#once();
        if (outcome !== undefined) {
          code = outcome;
          if (this.#stopping.signal.aborted || !this.#options.restarts(code)) break;
          if (Date.now() - began > STABLE_MILLISECONDS) backoff = 0;
        }
        if (backoff > 0 || outcome === undefined) {
          const pause = Math.max(backoff, EAGER_MILLISECONDS);
          if (outcome !== undefined) this.#wait('CrashLoopBackOff', `back-off ${pause} ms restarting failed container ${this.status.name}`);
          await sleep(pause, undefined, { signal: this.#stopping.signal });
        }
        backoff = Math.min(LONGEST_BACKOFF, backoff === 0 ? this.#options.backoffMilliseconds : backoff * 2);
        if (outcome !== undefined) this.#set({ restartCount: this.status.restartCount + 1 });
      }
    } catch (error) {
      // The wait before a restart was ended by `stop`.
      if (!this.#stopping.signal.aborted) throw error;
    } finally {
      this.#resolveStarted();
    }
    return code;
  }

  /** SIGTERM, and SIGKILL after the grace; no more restarts. Resolves when it has ended. */
  async stop(graceMilliseconds: number): Promise<void> {
    this.#stopping.abort();
    this.#terminate();
    const timer = setTimeout(() => this.#kill(), graceMilliseconds);
    await this.#exited;
    clearTimeout(timer);
  }

  /** One life of the container: its exit code, or undefined when it cannot be started (yet). */
  async #once(): Promise<number | undefined> {
    const { argv, container, prefix, log } = this.#options;
    if (argv === undefined) {
      this.#wait('ErrImagePull', `failed to pull image "${container.image}": the lab has no program for it`);
      return undefined;
    }
    let environment: Readonly<Record<string, string>>;
    let setUp: readonly string[];
    try {
      setUp = this.#options.setUp();
      environment = await this.#options.environment();
    } catch (error) {
      this.#wait('CreateContainerConfigError', messageOf(error));
      return undefined;
    }
    if (this.#stopping.signal.aborted) return undefined;
    const startedAt = now();
    const fd = openSync(log, 'a');
    const inFolder = container.workingDir === undefined ? [] : ['env', '-C', container.workingDir];
    const [file = '', ...rest] = [...prefix, ...setUp, ...inFolder, ...argv];
    const child = spawn(file, rest, { stdio: ['ignore', fd, fd], env: environment, cwd: '/', detached: true });
    closeSync(fd);
    this.#process = child;
    const over = new AbortController();
    const exit = new Promise<{ code: number; signal: NodeJS.Signals | null }>((resolve) => {
      child.on('exit', (code, signal) => resolve({ code: code ?? 128 + (signalNumber(signal) ?? 0), signal }));
      child.on('error', () => resolve({ code: 127, signal: null }));
    });
    this.#exited = exit.then(() => undefined);
    this.#set({ state: { running: { startedAt } }, started: container.startupProbe === undefined, ready: false });
    const probing = this.#probe(over.signal).catch(() => undefined);
    const { code } = await exit;
    over.abort();
    // As the end of a container's first process ends all others in it.
    this.#kill();
    this.#process = undefined;
    await probing;
    const terminated: ContainerState = {
      terminated: { exitCode: code, reason: code === 0 ? 'Completed' : 'Error', startedAt, finishedAt: now() },
    };
    this.#set({ state: terminated, lastState: terminated, ready: false, started: false });
    return code;
  }

  async #probe(signal: AbortSignal): Promise<void> {
    const { startupProbe, readinessProbe, livenessProbe } = this.#options.container;
    if (startupProbe !== undefined) {
      if (!(await this.#until(startupProbe, signal))) {
        this.#terminate();
        return;
      }
      this.#set({ started: true });
    }
    this.#resolveStarted();
    if (readinessProbe === undefined) this.#set({ ready: true });
    await Promise.all([
      readinessProbe !== undefined && this.#follow(readinessProbe, signal, EAGER_MILLISECONDS, (good) => this.#set({ ready: good })),
      livenessProbe !== undefined &&
        this.#follow(livenessProbe, signal, livenessProbe.periodSeconds * 1000, (good) => {
          if (!good) this.#terminate();
        }),
    ]);
  }

  /** Tries until it succeeds; false once it has failed too often. */
  async #until(probe: Probe, signal: AbortSignal): Promise<boolean> {
    const began = Date.now();
    const patience = (probe.initialDelaySeconds + probe.periodSeconds * probe.failureThreshold) * 1000;
    while (!(await tryProbe(probe, this.#target, signal))) {
      if (Date.now() - began > patience) return false;
      await sleep(EAGER_MILLISECONDS, undefined, { signal });
    }
    return true;
  }

  /** Tries for ever, and tells when the result changes, by the probe's thresholds. `impatience`: the pause while it fails. */
  async #follow(probe: Probe, signal: AbortSignal, impatience: number, tell: (good: boolean) => void): Promise<void> {
    let state: boolean | undefined;
    let row = 0;
    const period = probe.periodSeconds * 1000;
    await sleep(probe.initialDelaySeconds * 1000, undefined, { signal });
    for (;;) {
      const good = await tryProbe(probe, this.#target, signal);
      if (signal.aborted) return;
      row = good === state ? 0 : row + 1;
      if (good !== state && row >= (good ? probe.successThreshold : probe.failureThreshold)) {
        state = good;
        row = 0;
        tell(good);
      }
      await sleep(state === true ? period : Math.min(impatience, period), undefined, { signal });
    }
  }

  get #target() {
    const { address, container, prefix } = this.#options;
    return { address, container, prefix };
  }

  #wait(reason: string, message: string): void {
    this.#set({ state: { waiting: { reason, message } }, ready: false, started: false });
  }

  #set(change: Partial<ContainerStatus>): void {
    this.status = { ...this.status, ...change };
    this.#options.changed();
  }

  /** SIGTERM to the first process alone: what it does with others is its own affair. */
  #terminate(): void {
    this.#process?.kill('SIGTERM');
  }

  /** SIGKILL to the container's process group. */
  #kill(): void {
    const pid = this.#process?.pid;
    if (pid === undefined) return;
    try {
      process.kill(-pid, 'SIGKILL');
    } catch {
      // All of it has ended.
    }
  }
}

function now(): string {
  return `${new Date().toISOString().slice(0, 19)}Z`;
}

function signalNumber(signal: NodeJS.Signals | null): number | undefined {
  return signal === null
    ? undefined
    : (
        { SIGHUP: 1, SIGINT: 2, SIGQUIT: 3, SIGABRT: 6, SIGKILL: 9, SIGSEGV: 11, SIGPIPE: 13, SIGTERM: 15 } as Readonly<
          Record<string, number>
        >
      )[signal];
}

import type { AbortOptions } from '../../platform/abort.ts';
import type { LinkedPod } from '../links/pod-link.ts';

/** How a pod is chosen. */
export interface ChooseOptions extends AbortOptions {
  /** Keys ({@link podKey}) of pods that have not answered lately, or are about to end: chosen only where there is no other. */
  readonly avoid?: ReadonlySet<string>;
}

/** `shop/web-1`: names a pod within its cluster. */
export function podKey({ namespace, name }: LinkedPod): string {
  return `${namespace}/${name}`;
}

/** A pod of a node that is lost looks ready for 40 s and more (kubernetes.io, Nodes: heartbeats). */
const FAILED_MILLISECONDS = 60_000;
/** No grace of a pod is longer, most likely; and a name may come again (StatefulSets). */
const ENDING_MILLISECONDS = 10 * 60_000;

/** Pods that are not to be chosen for a while. */
export class ShunnedPods {
  readonly #failed = new Map<string, number>();
  readonly #ending = new Map<string, number>();

  /** It was heard no more, or has not answered. */
  failed(pod: LinkedPod): void {
    this.#failed.set(podKey(pod), performance.now() + FAILED_MILLISECONDS);
  }

  /** It is well, as far as its answers go. */
  answered(pod: LinkedPod): void {
    this.#failed.delete(podKey(pod));
  }

  /** It is about to end. */
  ends(pod: LinkedPod): void {
    this.#ending.set(podKey(pod), performance.now() + ENDING_MILLISECONDS);
  }

  isEnding(pod: LinkedPod): boolean {
    return (this.#ending.get(podKey(pod)) ?? 0) > performance.now();
  }

  /** Those of now. */
  now(): ReadonlySet<string> {
    const now = performance.now();
    for (const pods of [this.#failed, this.#ending]) for (const [pod, until] of pods) if (until <= now) pods.delete(pod);
    return new Set([...this.#failed.keys(), ...this.#ending.keys()]);
  }
}

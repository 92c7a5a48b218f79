import type { Cluster } from '../../cluster/types.ts';
import type { AbortOptions } from '../../platform/abort.ts';
import { Failure } from '../../platform/errors.ts';
import type { LocalHello } from '../../tunnel/index.ts';
import type { PodRoutes } from '../intercept/routes.ts';
import type { LinkedPod, PodLink } from '../links/pod-link.ts';
import type { Terminal } from '../terminal.ts';
import { proofWithOperator } from './by-operator.ts';
import { Probers } from './find-probers.ts';
import { proveCapture, type Proof } from './prove-capture.ts';

export interface ProofBeforeClaimsOptions {
  readonly cluster: Cluster;
  readonly hello: LocalHello;
  readonly pods: readonly PodRoutes[];
  readonly terminal: Pick<Terminal, 'progress' | 'warn'>;
}

/**
 * For `InterceptionOptions.beforeClaims`: proves the capture of every pod whose own ports are to be claimed, all at once. Rejects with
 * CAPTURE_NOT_PROVED where it certainly does not work; what nobody could tell is a warning.
 */
export function proofBeforeClaims({ cluster, hello, pods, terminal }: ProofBeforeClaimsOptions) {
  return async (links: readonly PodLink[], options: AbortOptions): Promise<void> => {
    await using probers = new Probers(cluster, hello, links, options);
    const proofs = await Promise.all(
      pods.map(async ({ pod, addresses, routes, proof: operators }): Promise<readonly [LinkedPod, Proof]> => {
        const state = links.find((link) => link.pod.name === pod.name)?.state;
        const [address] = addresses;
        if (routes.length === 0 || state?.kind !== 'up' || address === undefined) return [pod, { kind: 'unsupported' }];
        const { session } = state;
        const prove = async (): Promise<Proof> => await proveCapture({ pod, address, session, probers: probers.for(pod) }, options);
        const isCheap = links.some((link) => link.pod.name !== pod.name && link.state.kind === 'up');
        return [pod, await proofWithOperator({ operators, isCheap, prove })];
      }),
    );
    tell(proofs, terminal);
  };
}

/**
 * For `InterceptionOptions.afterJoining`: proves the capture of a pod that came after the start, once it is claimed (the claim must not wait: its
 * callers come). What was not proved is a warning.
 */
export function proofAfterJoining({ cluster, hello, terminal }: Omit<ProofBeforeClaimsOptions, 'pods'>) {
  return async ({ pod, addresses, routes }: PodRoutes, links: readonly PodLink[], options: AbortOptions): Promise<void> => {
    const state = links.find((link) => link.pod.name === pod.name)?.state;
    const [address] = addresses;
    if (routes.length === 0 || state?.kind !== 'up' || address === undefined) return;
    await using probers = new Probers(cluster, hello, links, options);
    const proof = await proveCapture({ pod, address, session: state.session, probers: probers.for(pod) }, options);
    if (proof.kind === 'failed')
      terminal.warn(`the callers of the new pod ${pod.name} are not intercepted: ${notProved(pod, proof).format()}`);
    else if (proof.kind === 'unclear') terminal.warn(unclear(pod, proof));
  };
}

/** One line for each pod that is in doubt; the Failure for the first whose capture does not work. */
export function tell(proofs: readonly (readonly [LinkedPod, Proof])[], terminal: Pick<Terminal, 'progress' | 'warn'>): void {
  for (const [pod, proof] of proofs) {
    if (proof.kind === 'failed') throw notProved(pod, proof);
  }
  for (const [pod, proof] of proofs) {
    if (proof.kind === 'unclear') {
      terminal.warn(unclear(pod, proof));
    }
  }
  if (proofs.some(([, proof]) => proof.kind === 'no-prober')) {
    terminal.progress('the capture is not proved from outside: no second pod or gateway to connect from');
  }
}

function unclear(pod: LinkedPod, { why }: { readonly why: string }): string {
  return `the capture of pod ${pod.name} could not be proved: ${why}`;
}

function notProved(pod: LinkedPod, { by, what }: { readonly by: string; readonly what: string }): Failure {
  return new Failure('CAPTURE_NOT_PROVED', `a connection from ${by} to pod ${pod.name} does not arrive at its kpeering: ${what}`, {
    likely:
      "the pod's rules are not in place or are bypassed: a service mesh's rules come first, or the node's CNI goes around netfilter (Cilium with eBPF host routing)",
    remedy: `see "kubectl -n ${pod.namespace} logs ${pod.name} -c kpeering-init"; --no-proof claims all the same`,
  });
}

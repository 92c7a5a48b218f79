import type { Pod } from '../../../cluster/resources.ts';
import { sidecarOf } from '../../../cluster/workloads.ts';
import { captureProofOf } from '../../../cluster/capture-proof.ts';
import { clusterCheck } from '../examination.ts';
import { note, ok, problem, unknown, type Seen } from '../finding.ts';
import type { SidecarAnswer } from '../sidecars.ts';
import { subjectOf } from '../subjects.ts';

/** How each pod's traffic is captured, and whether a connection from outside has proved that it is. */
export const captureCheck = clusterCheck('capture', async (_, examination) => {
  const [pods, { answers }] = await Promise.all([examination.pods(), examination.sidecars()]);
  return [...answers.flatMap(ofMode), ...pods.filter((pod) => sidecarOf(pod) !== undefined).map(ofProof)];
});

function ofMode({ pod, told }: SidecarAnswer): readonly Seen[] {
  const subject = subjectOf(pod);
  if (told?.rules === undefined) return [];
  const { mode, reason, tcp, udp } = told.rules;
  const ports = [...tcp, ...udp.map((port) => `${port}/udp`)].join(', ') || 'nothing';
  if (mode === 'tproxy') return [ok(`tproxy mode (${reason}), captures ${ports}: nothing passes through an idle sidecar`, subject)];
  return [
    note(
      `redirect mode (${reason}), captures ${ports}: every connection crosses the sidecar, and is refused while that restarts`,
      undefined,
      subject,
    ),
  ];
}

/** The operator proves it after a pod has started, and writes it down as a condition of the pod. */
function ofProof(pod: Pod): Seen {
  const subject = subjectOf(pod);
  const { namespace = 'default', name } = pod.metadata;
  const proof = captureProofOf(pod);
  if (proof === undefined) {
    return unknown(
      'nobody has proved that its traffic is captured: the operator does, after a pod has started',
      'kpctl intercept proves it before it claims',
      subject,
    );
  }
  const said = proof.message ?? proof.reason ?? 'no reason given';
  if (proof.status === 'True') return ok('a connection from outside has proved that its traffic is captured', subject);
  if (proof.status === 'Unknown') return unknown(`whether its traffic is captured could not be proved: ${said}`, undefined, subject);
  return problem(
    `its traffic is not captured: ${said}`,
    `look for rules that come first (a service mesh), or go around netfilter (Cilium with eBPF host routing); kubectl -n ${namespace} logs ${name} -c kpeering-init`,
    subject,
  );
}

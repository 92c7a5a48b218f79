import { INJECT_LABEL } from '../../../operator/injection/index.ts';
import { enforcedLevel } from '../../../operator/injection/pod-security.ts';
import { clusterCheck } from '../examination.ts';
import { isFailure, note, ok, problem, unknown, warning, type Seen } from '../finding.ts';

/** Whether pods of the namespace may be injected: its Pod Security level and its label. */
export const namespaceCheck = clusterCheck('namespace', async ({ cluster }, examination) => {
  let namespace;
  try {
    namespace = await examination.namespace();
  } catch (error) {
    if (!isFailure(error, 'NOT_FOUND')) throw error;
    return [
      problem(
        `there is no namespace ${cluster.namespace}`,
        'name another one with -n, or set it in the context: kubectl config set-context --current --namespace=NAME',
      ),
    ];
  }
  if (namespace === undefined)
    return [unknown(`you may not read namespace ${cluster.namespace}`, 'ask for the right to get that namespace')];
  const { namespace: own } = await examination.installation();
  const { name, labels } = namespace;
  if (name === own || name === 'kube-system') return [note(`pods of namespace ${name} are never injected`, 'use another namespace: -n')];
  return [ofPodSecurity(name, labels), ofLabel(name, labels[INJECT_LABEL])];
});

function ofPodSecurity(name: string, labels: Readonly<Record<string, string>>): Seen {
  const level = enforcedLevel(labels);
  if (level === 'privileged') return ok(`Pod Security lets pods of namespace ${name} be injected`);
  return warning(
    `namespace ${name} enforces the Pod Security level ${level}: its pods cannot be injected, nor have an ephemeral container of ours`,
    `use a namespace that enforces privileged, or the gateway (kpctl run without -w); who may: kubectl label namespace ${name} pod-security.kubernetes.io/enforce=privileged --overwrite`,
  );
}

function ofLabel(name: string, value: string | undefined): Seen {
  if (value === undefined) return ok(`namespace ${name} leaves it to each workload (kpctl inject) to be injected`);
  if (value === 'enabled') return ok(`namespace ${name} asks for injection of all its pods`);
  if (value === 'disabled') return ok(`namespace ${name} has the label ${INJECT_LABEL}=disabled; a workload's own label wins`);
  return warning(
    `the label ${INJECT_LABEL} of namespace ${name} is "${value}"`,
    `kubectl label namespace ${name} ${INJECT_LABEL}=enabled --overwrite`,
  );
}

import { randomBytes } from 'node:crypto';
import { pods } from '../../../cluster/resources.ts';
import type { Cluster, Manifest } from '../../../cluster/types.ts';
import { INJECTED_LABEL, INJECT_LABEL, NOT_INJECTED_ANNOTATION } from '../../../operator/injection/index.ts';
import { WEBHOOK_CONFIGURATION } from '../../../operator/names.ts';
import type { AbortOptions } from '../../../platform/abort.ts';
import { clusterCheck } from '../examination.ts';
import { isFailure, note, ok, problem, unknown, warning, type Seen } from '../finding.ts';
import type { Installation } from '../installation.ts';

/** A webhook that takes longer holds up every injected pod's start. Milliseconds. */
const SLOW = 1_000;

/** Whether the API server reaches the webhook: a pod with the label is made as a dry run, which stores nothing. */
export const webhookCheck = clusterCheck('webhook', async ({ cluster }, examination, options) => {
  const installation = await examination.installation();
  const { webhook } = installation;
  if (webhook === 'missing' && installation.operator === 'missing') return [unknown('not looked at: kpeering is not installed')];
  if (webhook === 'missing') {
    return [
      problem(`the webhook's configuration ${WEBHOOK_CONFIGURATION} is not there: nothing is injected`, 'install it again: kpctl install'),
    ];
  }
  return [await tryInjection(cluster, installation, options)];
});

async function tryInjection(cluster: Cluster, installation: Installation, options: Required<AbortOptions>): Promise<Seen> {
  const { namespace } = cluster;
  if (!(await cluster.can({ verb: 'create', resource: 'pods', namespace }, options))) {
    return unknown(
      `whether injection answers can only be tried by who may create pods in namespace ${namespace} (as a dry run)`,
      'start a pod with the label, and look at its label kpeering.io/injected',
    );
  }
  const before = performance.now();
  try {
    const made = await cluster.create(pods, probePod(), { namespace, dryRun: true, ...options });
    const milliseconds = Math.round(performance.now() - before);
    const slow = milliseconds > SLOW;
    if (made.metadata.labels[INJECTED_LABEL] === 'true') {
      if (!slow) return ok(`it answers: a dry-run pod in namespace ${namespace} was injected in ${milliseconds} ms`);
      return warning(`it answers, but a dry-run pod took ${milliseconds} ms`, 'see how busy the operator is: kpctl logs operator');
    }
    const reason = made.metadata.annotations[NOT_INJECTED_ANNOTATION];
    if (reason !== undefined) return note(`it answers, and leaves pods of namespace ${namespace} alone: ${reason}`);
    if (namespace === installation.namespace || namespace === 'kube-system')
      return note(`pods of namespace ${namespace} are never injected`);
    return silent(installation, milliseconds);
  } catch (error) {
    if (!isFailure(error, 'API_FORBIDDEN', 'API_INVALID', 'API_ERROR')) throw error;
    return unknown(`the API server would not make a pod to try it with: ${error.message}`);
  }
}

function silent({ namespace, operator }: Installation, milliseconds: number): Seen {
  const waited = milliseconds > SLOW ? `, after the API server had waited ${(milliseconds / 1000).toFixed(1)} s` : '';
  if (operator === 'hidden') {
    return problem(
      `a dry-run pod with the label ${INJECT_LABEL} was not injected${waited}: kpeering is not installed, or its operator is down`,
      'ask who installed it to run kpctl doctor; without it there is kpctl intercept --ephemeral',
    );
  }
  return problem(
    `the API server does not reach the operator: a dry-run pod with the label ${INJECT_LABEL} was not injected${waited}; pods that start now start without kpeering`,
    `see the operator and its certificate above and below; where they are well, a NetworkPolicy or firewall between the API server and port 15309 of namespace ${namespace}`,
  );
}

/** A pod that every Pod Security level admits, and ordinary quotas and limits, too. */
function probePod(): Manifest {
  const resources = { cpu: '10m', memory: '16Mi' };
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: `kpctl-doctor-${randomBytes(4).toString('hex')}`, labels: { [INJECT_LABEL]: 'enabled' } },
    spec: {
      securityContext: { runAsUser: 65_534, runAsNonRoot: true, seccompProfile: { type: 'RuntimeDefault' } },
      containers: [
        {
          name: 'probe',
          image: 'kpeering.invalid/never-started',
          ports: [{ containerPort: 8080 }],
          resources: { requests: resources, limits: resources },
          securityContext: { allowPrivilegeEscalation: false, capabilities: { drop: ['ALL'] } },
        },
      ],
    },
  };
}

import type { PodAdmission } from '../../lab/index.ts';
import { applyPatch, decideInjection, type InjectionSettings } from '../../operator/injection/index.ts';

/** Images as the example manifests name them. */
const settings: InjectionSettings = {
  images: { init: 'kpeering/init:dev', sidecar: 'kpeering/kpeering:dev' },
  pullPolicy: 'IfNotPresent',
  nativeSidecars: true,
  excludedNamespaces: ['kube-system'],
  defaults: {},
};

/** The lab has no webhooks: what the operator's would do to a pod that asks for kpeering by its label is done when the lab admits it. */
export const injectByLabel: PodAdmission = (pod, namespace) => {
  const injection = decideInjection({ pod, namespace, settings });
  return injection.kind === 'injected' || injection.kind === 'left-alone' ? applyPatch(pod, injection.patch) : pod;
};

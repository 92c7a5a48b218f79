import type { Examination } from '../examination.ts';
import { failed, ok } from '../finding.ts';
import type { Check } from '../run-checks.ts';
import { Failure } from '../../../platform/errors.ts';

/** The kubeconfig and its context. */
export const kubeconfigCheck: Check<Examination> = {
  id: 'kubeconfig',
  look: async (examination) => {
    try {
      const { context, namespace, server } = await examination.cluster();
      return [ok(`context ${context || "(the pod's service account)"}, namespace ${namespace}, server ${server}`)];
    } catch (error) {
      if (error instanceof Failure) return [failed('problem', error)];
      throw error;
    }
  },
};

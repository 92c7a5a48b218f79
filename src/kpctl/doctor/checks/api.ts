import { Failure } from '../../../platform/errors.ts';
import type { Examination } from '../examination.ts';
import { failed, NOT_REACHED, ok, problem, unknown, warning } from '../finding.ts';
import type { Check } from '../run-checks.ts';

/** A first answer that takes longer makes every command slow. */
const SLOW_MILLISECONDS = 1_000;

/** Whether the API server answers, how long that takes, and as whom it knows the user. */
export const apiCheck: Check<Examination> = {
  id: 'api',
  look: async (examination) => {
    try {
      await examination.cluster();
    } catch {
      return [unknown(NOT_REACHED)];
    }
    try {
      const { version, user, milliseconds } = await examination.reached();
      const said = `${version.text} answers in ${Math.round(milliseconds)} ms${user === undefined ? '' : `, and knows you as ${user}`}`;
      if (milliseconds <= SLOW_MILLISECONDS) return [ok(said)];
      return [
        warning(said, 'every command waits for it: look at the network, a VPN, a proxy, and at a credential plugin of the kubeconfig'),
      ];
    } catch (error) {
      if (error instanceof Failure) return [failed('problem', error)];
      const { server } = await examination.cluster();
      return [
        problem(
          `the API server ${server} does not answer in time`,
          'check the network, a VPN, and whether the API server is up: kubectl get --raw /readyz',
        ),
      ];
    }
  },
};

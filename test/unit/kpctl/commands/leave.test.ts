import test from 'ava';
import { sameWorkload } from '../../../../src/kpctl/commands/leave.ts';

test('what runs is found by its name, and by every way to write its kind', (t) => {
  for (const asked of ['web', 'deploy/web', 'deployment/web', 'Deployments/web', 'deployment.apps/web']) {
    t.true(sameWorkload('deployment/web', asked), asked);
  }
});

test('another name or another kind is not meant', (t) => {
  for (const asked of ['api', 'webb', 'sts/web', 'service/web', 'pod/web']) t.false(sameWorkload('deployment/web', asked), asked);
});

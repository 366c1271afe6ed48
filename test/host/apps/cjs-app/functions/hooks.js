const { app } = require('@azure/functions');

app.hook.appStart((context) => {
  context.hookData.started = true;
  console.log('hook appStart');
});
app.hook.appTerminate(() => {
  console.log('hook appTerminate');
});
app.hook.log((context) => {
  context.message = context.message.replace('password', '********');
});
app.hook.preInvocation((context) => {
  context.hookData.order = ['pre1'];
  if (context.invocationContext.functionName !== 'hooked') return;
  context.inputs.push('extra');
  const handler = context.functionHandler;
  context.functionHandler = (...args) => handler(...args);
});
app.hook.preInvocation((context) => {
  context.hookData.order.push('pre2');
});
app.hook.postInvocation((context) => {
  if (context.invocationContext.functionName === 'hooked') {
    context.result.jsonBody.order = context.hookData.order;
  }
  if (context.invocationContext.functionName === 'rescued') {
    context.result = { body: `rescued from ${context.error.message}` };
    context.error = undefined;
  }
});

app.http('hooked', {
  authLevel: 'anonymous',
  handler: (_request, ...rest) => {
    const context = rest.at(-1);
    context.log('my password is here');
    return { jsonBody: { inputs: rest.length, name: context.functionName } };
  },
});
app.http('rescued', {
  authLevel: 'anonymous',
  handler: () => {
    throw new Error('trouble');
  },
});

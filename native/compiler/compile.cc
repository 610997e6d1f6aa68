#include "compiler/compile.h"

#include "compiler/passes.h"

namespace tesserae {

Program compile(const Graph& graph, const Layout& layout, Chooser& chooser, const ProgramRequest& request) {
  Ir ir(graph, layout, chooser);
  if (const auto* update = std::get_if<UpdateRequest>(&request)) {
    lowerUpdate(ir, *update);
  } else if (const auto* choose = std::get_if<ChooseRequest>(&request)) {
    lowerChoose(ir, *choose);
  } else {
    const auto* train = std::get_if<TrainRequest>(&request);
    const auto* eval = std::get_if<EvalRequest>(&request);
    const bool rewrites = train ? train->rewrite : eval ? eval->rewrite : true;
    lower(ir, request);
    if (train) differentiate(ir, *train);
    removeDeadNodes(ir);
    if (rewrites) rewrite(ir);
    removeDeadNodes(ir);
    if (train && train->world > 1) distribute(ir, train->world, train->strategy);
    schedule(ir);
    if (rewrites) moveOutputs(ir);
  }
  assignWrites(ir);
  return planMemory(ir, request);
}

}  // namespace tesserae

from diptych.auditing import Audit as Audit
from diptych.auditing import audit as audit
from diptych.auditing.recording import record as record
from diptych.comparison import Comparison as Comparison
from diptych.comparison import compare as compare
from diptych.comparison import compare_runs as compare_runs
from diptych.data.dataset import Data as Data
from diptych.data.loading import load_data as load_data
from diptych.errors import InputError as InputError
from diptych.evaluation import Evaluation as Evaluation
from diptych.evaluation import evaluate as evaluate
from diptych.evaluation import predict as predict
from diptych.formats.exporting import Export as Export
from diptych.formats.exporting import NotTheSame as NotTheSame
from diptych.formats.exporting import export as export
from diptych.formats.importing import import_file as import_file
from diptych.network import Network as Network
from diptych.recipe import Recipe as Recipe
from diptych.runs import Run as Run
from diptych.serving.publish import serve as serve
from diptych.training import TrainingFailed as TrainingFailed
from diptych.training import resume as resume
from diptych.training import train as train

__all__: list[str]
__version__: str

/* What is done at every step of a plain loop: in_python.py in C, which says what each class is for. Between two steps of a
   training the processor's caches are full of its numbers, and each function of Python's that is run there costs up to
   a microsecond. This takes half the time.

   Only the hot path is here. Whatever is special about a step, faults too, goes to the same methods in Python. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <structmember.h>
#include <math.h>
#include <time.h>

/* Set by set_up. */
static PyObject *tensor_type, *alive, *inside, *session, *quiet, *stack, *latest_names, *read_copy, *metrics, *zero;

static PyObject *str_backward, *str_batch_came, *str_is_cpu, *str_item, *str_lr, *str_on, *str_open,
    *str_param_groups, *str_qualname, *str_reading, *str_settle, *str_stepped, *str_stopped, *str_train_on;

static double seconds(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* As Python's id() gives it. */
static unsigned long long address(PyObject *object)
{
    return (unsigned long long)(uintptr_t)object;
}

static int is_none(PyObject *object)
{
    return object == NULL || object == Py_None;
}

/* Calls a method of Python's whose result does not matter: 0, or -1 with an exception. */
static int call_method(PyObject *self, PyObject *method, PyObject *first, PyObject *second, PyObject *third)
{
    PyObject *result = PyObject_CallMethodObjArgs(self, method, first, second, third, NULL);
    Py_XDECREF(result);
    return result == NULL ? -1 : 0;
}

/* Whether `self.name` is true; false where that can't be found out. */
static int is_true(PyObject *self, PyObject *name)
{
    PyObject *value = PyObject_GetAttr(self, name);
    int truth = value == NULL ? 0 : PyObject_IsTrue(value);
    Py_XDECREF(value);
    if (value == NULL || truth < 0)
        PyErr_Clear();
    return truth > 0;
}

/* What a context variable holds, which its context keeps alive; NULL where that can't be found out. */
static PyObject *current_value(PyObject *variable)
{
    PyObject *now = NULL;
    if (PyContextVar_Get(variable, NULL, &now) < 0)
        PyErr_Clear();
    Py_XDECREF(now);
    return now;
}

static int is_open(PyObject *variable)
{
    PyObject *now = current_value(variable);
    return !is_none(now) && is_true(now, str_open);
}

/* `session.inside()`, whose usual answers are found without it: 1 or 0, -1 with an exception. */
static int is_inside(void)
{
    if (PySet_GET_SIZE(alive) == 0)
        return 0;
    if (is_open(quiet) || is_open(session))
        return 1;
    PyObject *answer = PyObject_CallNoArgs(inside);
    Py_XDECREF(answer);
    return answer == NULL ? -1 : answer == Py_True;
}

/* ---- members of a type that is relied on ---- */

typedef struct {
    Py_ssize_t offset;
    PyTypeObject *type;
} Typed;

static PyObject *get_typed(PyObject *self, void *closure)
{
    PyObject *value = *(PyObject **)((char *)self + ((Typed *)closure)->offset);
    return Py_NewRef(value == NULL ? Py_None : value);
}

static int set_typed(PyObject *self, PyObject *value, void *closure)
{
    Typed *typed = closure;
    PyObject **place = (PyObject **)((char *)self + typed->offset), *before = *place;
    if (value == Py_None)
        value = NULL;
    if (value != NULL && !PyObject_TypeCheck(value, typed->type)) {
        PyErr_Format(PyExc_TypeError, "%R is no %s", value, typed->type->tp_name);
        return -1;
    }
    *place = Py_XNewRef(value);
    Py_XDECREF(before);
    return 0;
}

/* ---- Slot, Pass ---- */

typedef struct {
    PyObject_HEAD
    unsigned long long id;
    long long steps, every;
    PyObject *rate, *curves;
} Slot;

static PyMemberDef slot_members[] = {
    {"id", T_ULONGLONG, offsetof(Slot, id), 0, NULL},
    {"steps", T_LONGLONG, offsetof(Slot, steps), 0, NULL},
    {"every", T_LONGLONG, offsetof(Slot, every), 0, NULL},
    {"rate", T_OBJECT, offsetof(Slot, rate), 0, NULL},
    {NULL},
};

static int slot_traverse(Slot *self, visitproc visit, void *arg)
{
    Py_VISIT(self->rate);
    Py_VISIT(self->curves);
    return 0;
}

static int slot_clear(Slot *self)
{
    Py_CLEAR(self->rate);
    Py_CLEAR(self->curves);
    return 0;
}

static void slot_dealloc(Slot *self)
{
    PyObject_GC_UnTrack(self);
    slot_clear(self);
    Py_TYPE(self)->tp_free((PyObject *)self);
}

#define BASE(type, lower)                                                                                              \
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "tachograph_frameworks.torch.hot_path._in_c." #type,                               \
    .tp_basicsize = sizeof(type), .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,           \
    .tp_new = PyType_GenericNew, .tp_traverse = (traverseproc)lower##_traverse, .tp_clear = (inquiry)lower##_clear,    \
    .tp_dealloc = (destructor)lower##_dealloc, .tp_members = lower##_members

static Typed slot_curves = {offsetof(Slot, curves), &PyDict_Type};
static PyGetSetDef slot_getset[] = {{"curves", get_typed, set_typed, NULL, &slot_curves}, {NULL}};
static PyTypeObject slot_type = {BASE(Slot, slot), .tp_getset = slot_getset};

typedef struct {
    PyObject_HEAD
    unsigned long long id;
    long long batches;
    double last, waited;
} Pass;

static PyMemberDef pass_members[] = {
    {"id", T_ULONGLONG, offsetof(Pass, id), 0, NULL},
    {"batches", T_LONGLONG, offsetof(Pass, batches), 0, NULL},
    {"last", T_DOUBLE, offsetof(Pass, last), 0, NULL},
    {"waited", T_DOUBLE, offsetof(Pass, waited), 0, NULL},
    {NULL},
};

static PyTypeObject pass_type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "tachograph_frameworks.torch.hot_path._in_c.Pass",
    .tp_basicsize = sizeof(Pass),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
    .tp_new = PyType_GenericNew,
    .tp_members = pass_members,
};

/* ---- Notes ---- */

typedef struct {
    PyObject_HEAD
    Slot *slot;
    PyObject *slots, *noted, *name, *value, *stack;
    unsigned long thread;
    unsigned long long call;
    double due;
    char batch_is_new;
} Notes;

static PyMemberDef notes_members[] = {
    {"name", T_OBJECT, offsetof(Notes, name), 0, NULL},
    {"value", T_OBJECT, offsetof(Notes, value), 0, NULL},
    {"stack", T_OBJECT, offsetof(Notes, stack), 0, NULL},
    {"thread", T_ULONG, offsetof(Notes, thread), 0, NULL},
    {"call", T_ULONGLONG, offsetof(Notes, call), 0, NULL},
    {"due", T_DOUBLE, offsetof(Notes, due), 0, NULL},
    {"batch_is_new", T_BOOL, offsetof(Notes, batch_is_new), 0, NULL},
    {NULL},
};

static Typed notes_slot = {offsetof(Notes, slot), &slot_type}, notes_noted = {offsetof(Notes, noted), &PyList_Type},
             notes_slots = {offsetof(Notes, slots), &PyDict_Type};
static PyGetSetDef notes_getset[] = {
    {"slot", get_typed, set_typed, NULL, &notes_slot},
    {"slots", get_typed, set_typed, NULL, &notes_slots},
    {"noted", get_typed, set_typed, NULL, &notes_noted},
    {NULL},
};

static int notes_traverse(Notes *self, visitproc visit, void *arg)
{
    Py_VISIT(self->slot);
    Py_VISIT(self->slots);
    Py_VISIT(self->name);
    Py_VISIT(self->value);
    Py_VISIT(self->noted);
    Py_VISIT(self->stack);
    return 0;
}

static int notes_clear(Notes *self)
{
    Py_CLEAR(self->slot);
    Py_CLEAR(self->slots);
    Py_CLEAR(self->name);
    Py_CLEAR(self->value);
    Py_CLEAR(self->noted);
    Py_CLEAR(self->stack);
    return 0;
}

static void notes_dealloc(Notes *self)
{
    PyObject_GC_UnTrack(self);
    notes_clear(self);
    Py_TYPE(self)->tp_free((PyObject *)self);
}

static PyTypeObject notes_type = {BASE(Notes, notes), .tp_getset = notes_getset};

/* Appends the note of a step: 0, or -1 with an exception. What is noted is held meanwhile: to make a tuple may start a
   garbage collection, and that anything. */
static int note(Notes *self, long long step, double at, PyObject *curve, PyObject *rate_name, PyObject *rate)
{
    PyObject *parts[] = {
        PyLong_FromLongLong(step),
        PyFloat_FromDouble(at),
        Py_NewRef(Py_None),
        Py_NewRef(curve),
        Py_NewRef(is_none(self->value) ? Py_None : self->value),
        Py_NewRef(rate_name),
        Py_NewRef(rate),
    };
    PyObject *noted = parts[0] != NULL && parts[1] != NULL ? PyTuple_New(Py_ARRAY_LENGTH(parts)) : NULL;
    for (size_t index = 0; index < Py_ARRAY_LENGTH(parts); index++) {
        if (noted != NULL)
            PyTuple_SET_ITEM(noted, index, parts[index]);
        else
            Py_XDECREF(parts[index]);
    }
    int result = noted == NULL ? -1 : PyList_Append(self->noted, noted);
    Py_XDECREF(noted);
    return result;
}

/* ---- Hook: what stands in the place of a method of torch's ---- */

typedef struct {
    PyObject_HEAD
    vectorcallfunc vectorcall;
    PyObject *dict, *owner, *hooks, *original;
} Hook;

static int hook_traverse(Hook *self, visitproc visit, void *arg)
{
    Py_VISIT(self->dict);
    Py_VISIT(self->owner);
    Py_VISIT(self->hooks);
    Py_VISIT(self->original);
    return 0;
}

static void hook_dealloc(Hook *self)
{
    PyObject_GC_UnTrack(self);
    Py_CLEAR(self->dict);
    Py_CLEAR(self->owner);
    Py_CLEAR(self->hooks);
    Py_CLEAR(self->original);
    Py_TYPE(self)->tp_free((PyObject *)self);
}

static int hook_clear(Hook *self)
{
    Py_CLEAR(self->dict); /* the rest is called as long as this is */
    return 0;
}

static PyObject *hook_get(PyObject *self, PyObject *instance, PyObject *owner)
{
    return instance == NULL || instance == Py_None ? Py_NewRef(self) : PyMethod_New(self, instance);
}

/* Pickled by its name, as a function is. */
static PyObject *hook_reduce(PyObject *self, PyObject *unused)
{
    return PyObject_GetAttr(self, str_qualname);
}

static PyObject *hook_repr(Hook *self)
{
    return PyObject_Repr(self->original);
}

static PyMethodDef hook_methods[] = {{"__reduce__", hook_reduce, METH_NOARGS, NULL}, {NULL}};
static PyGetSetDef hook_getset[] = {
    {"__dict__", PyObject_GenericGetDict, PyObject_GenericSetDict, NULL, NULL},
    {NULL},
};

static PyTypeObject hook_type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "tachograph_frameworks.torch.hot_path._in_c.Hook",
    .tp_basicsize = sizeof(Hook),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_HAVE_VECTORCALL | Py_TPFLAGS_METHOD_DESCRIPTOR,
    .tp_vectorcall_offset = offsetof(Hook, vectorcall),
    .tp_call = PyVectorcall_Call,
    .tp_dictoffset = offsetof(Hook, dict),
    .tp_descr_get = hook_get,
    .tp_repr = (reprfunc)hook_repr,
    .tp_methods = hook_methods,
    .tp_getset = hook_getset,
    .tp_traverse = (traverseproc)hook_traverse,
    .tp_clear = (inquiry)hook_clear,
    .tp_dealloc = (destructor)hook_dealloc,
};

static PyObject *make_hook(PyObject *owner, PyObject *const *args, Py_ssize_t count, vectorcallfunc call)
{
    if (count != 2) {
        PyErr_SetString(PyExc_TypeError, "it takes the hooks and the original");
        return NULL;
    }
    Hook *made = PyObject_GC_New(Hook, &hook_type);
    if (made == NULL)
        return NULL;
    made->vectorcall = call;
    made->dict = NULL;
    made->owner = Py_NewRef(owner);
    made->hooks = Py_NewRef(args[0]);
    made->original = Py_NewRef(args[1]);
    PyObject_GC_Track(made);
    return (PyObject *)made;
}

/* ---- StepListener ---- */

#define MOST_WAITING 200 /* passes of one loss that wait for a step on the hot path */

typedef struct {
    PyObject_HEAD
    Notes *plain;
    PyObject *code, *name; /* the last place that called backward, and what it calls its loss; the rest as KnownPlace */
    int instruction, depth;
    unsigned long long call;
} StepListener;

static PyMemberDef step_listener_members[] = {{NULL}};

static Typed step_listener_plain = {offsetof(StepListener, plain), &notes_type};
static PyGetSetDef step_listener_getset[] = {{"_plain", get_typed, set_typed, NULL, &step_listener_plain}, {NULL}};

static int step_listener_traverse(StepListener *self, visitproc visit, void *arg)
{
    Py_VISIT(self->plain);
    Py_VISIT(self->code);
    Py_VISIT(self->name);
    return 0;
}

static int step_listener_clear(StepListener *self)
{
    Py_CLEAR(self->plain);
    Py_CLEAR(self->code);
    Py_CLEAR(self->name);
    return 0;
}

static void step_listener_dealloc(StepListener *self)
{
    PyObject_GC_UnTrack(self);
    step_listener_clear(self);
    Py_TYPE(self)->tp_free((PyObject *)self);
}

/* Whether a frame, or the one `depth` further out, is the one of a generator or coroutine; true for none, which is 0. */
static int is_in_call(PyFrameObject *frame, int depth, unsigned long long call)
{
    if (call == 0)
        return 1;
    PyFrameObject *outer = (PyFrameObject *)Py_NewRef(frame);
    for (; outer != NULL && depth > 0; depth--)
        Py_XSETREF(outer, PyFrame_GetBack(outer));
    int is_it = address((PyObject *)outer) == call;
    Py_XDECREF(outer);
    return is_it;
}

/* Looks up a place that calls backward, as the last one: 0 where it is not known. */
static int look_up(StepListener *self, PyObject *code, int instruction)
{
    PyObject *key = PyLong_FromLong(instruction);
    PyObject *place = key == NULL ? NULL : PyDict_GetItemWithError(latest_names, key);
    Py_XDECREF(key);
    if (place == NULL || !PyTuple_Check(place) || PyTuple_GET_SIZE(place) != 4 || PyTuple_GET_ITEM(place, 0) != code) {
        PyErr_Clear();
        return 0;
    }
    Py_XSETREF(self->code, Py_NewRef(code));
    Py_XSETREF(self->name, Py_NewRef(PyTuple_GET_ITEM(place, 1)));
    self->instruction = instruction;
    self->depth = (int)PyLong_AsLong(PyTuple_GET_ITEM(place, 2));
    self->call = PyLong_AsUnsignedLongLong(PyTuple_GET_ITEM(place, 3));
    return 1;
}

/* Whether the place is in the generator or coroutine of the last step. */
static int is_of(StepListener *self, Notes *plain, PyFrameObject *frame)
{
    return self->call == plain->call && is_in_call(frame, self->depth, self->call);
}

/* What the loss is called where backward is called now, in the same generator or coroutine, if any, as the last step;
   NULL where that is not known yet. Borrowed. */
static PyObject *loss_name(StepListener *self, Notes *plain)
{
    PyFrameObject *frame = PyEval_GetFrame();
    if (frame == NULL)
        return NULL;
    int instruction = PyFrame_GetLasti(frame);
    PyObject *code = (PyObject *)PyFrame_GetCode(frame);
    int is_known = code == self->code && instruction == self->instruction;
    if (!is_known || !is_of(self, plain, frame))
        is_known = look_up(self, code, instruction) && is_of(self, plain, frame);
    Py_DECREF(code);
    return is_known ? self->name : NULL;
}

/* A loss's number, or what will be one; NULL where there is none, perhaps with an exception. */
static PyObject *number(PyObject *tensor)
{
    PyObject *is_cpu = PyObject_GetAttr(tensor, str_is_cpu), *value;
    if (is_cpu == NULL)
        return NULL;
    Py_DECREF(is_cpu);
    if (is_cpu == Py_True) {
        value = PyObject_CallMethodNoArgs(tensor, str_item);
        if (value == NULL && PyErr_ExceptionMatches(PyExc_RuntimeError))
            PyErr_Clear(); /* it has several elements, or none */
    } else {
        value = PyObject_CallOneArg(read_copy, tensor);
        if (value == Py_None)
            Py_CLEAR(value);
    }
    return value;
}

/* Puts a number beside those of the same loss that wait for their step, in a list: 0, or -1 with an exception. */
static int add(Notes *plain, PyObject *value)
{
    if (!PyList_CheckExact(plain->value)) {
        PyObject *list = PyList_New(1);
        if (list == NULL)
            return -1;
        PyList_SET_ITEM(list, 0, plain->value);
        plain->value = list;
    }
    return PyList_Append(plain->value, value);
}

/* Whether one more pass of the loss `name` can wait for its step here. */
static int has_room(Notes *plain, PyObject *name)
{
    if (is_none(plain->name))
        return 1;
    int is_full = PyList_CheckExact(plain->value) && PyList_GET_SIZE(plain->value) >= MOST_WAITING;
    return plain->name == name && plain->value != NULL && !is_full;
}

/* A plain step's loss: 1 where it is none, else 0; -1 with an exception. */
static int hear_plain(StepListener *self, Notes *plain, PyObject *tensor)
{
    PyObject *name = Py_XNewRef(loss_name(self, plain));
    if (name == NULL || !has_room(plain, name)) {
        Py_XDECREF(name);
        return 1;
    }
    PyObject *value = number(tensor);
    int result = 0;
    if (value == NULL) {
        result = PyErr_Occurred() ? (PyErr_ExceptionMatches(PyExc_Exception) ? 1 : -1) : 0;
        if (result > 0)
            PyErr_Clear();
    } else if (has_room(plain, name) && !is_none(plain->name)) { /* looked at again: number() may call Python */
        result = add(plain, value);
        Py_DECREF(value);
    } else {
        Py_XSETREF(plain->value, value);
        Py_XSETREF(plain->name, Py_NewRef(name));
    }
    Py_DECREF(name);
    return result;
}

/* Whether the last step was made here: in this thread, and with the same runs open. */
static int is_here(Notes *plain)
{
    return plain->thread == PyThread_get_thread_ident() && current_value(stack) == plain->stack;
}

static int hear(Hook *hook, PyObject *tensor)
{
    StepListener *self = (StepListener *)hook->owner;
    Notes *plain = self->plain;
    int is_quiet = is_inside();
    if (is_quiet != 0)
        return is_quiet < 0 ? -1 : 0;
    if (plain != NULL && (PyObject *)Py_TYPE(tensor) == tensor_type && is_here(plain)) {
        Py_INCREF(plain);
        int result = hear_plain(self, plain, tensor);
        Py_DECREF(plain);
        if (result <= 0)
            return result;
    }
    return is_true(hook->hooks, str_on) ? call_method((PyObject *)self, str_backward, tensor, NULL, NULL) : 0;
}

static PyObject *call_backward(PyObject *self, PyObject *const *args, size_t flags, PyObject *names)
{
    Hook *hook = (Hook *)self;
    if (PyVectorcall_NARGS(flags) > 0 && hear(hook, args[0]) < 0)
        return NULL;
    return PyObject_Vectorcall(hook->original, args, flags, names);
}

static PyObject *step_listener_hook(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    return make_hook(self, args, count, call_backward);
}

/* The learning rate of an optimizer's only group, where that is a number; NULL where it is not. */
static PyObject *rate_of(PyObject *optimizer)
{
    PyObject *groups = PyObject_GetAttr(optimizer, str_param_groups), *rate = NULL;
    if (groups != NULL && PyList_Check(groups) && PyList_GET_SIZE(groups) == 1) {
        PyObject *group = PyList_GET_ITEM(groups, 0);
        if (PyDict_Check(group))
            rate = PyDict_GetItemWithError(group, str_lr);
        rate = rate != NULL && (PyFloat_CheckExact(rate) || PyLong_CheckExact(rate)) ? Py_NewRef(rate) : NULL;
    }
    Py_XDECREF(groups);
    if (rate == NULL)
        PyErr_Clear();
    return rate;
}

/* What the coming step's loss is called among the curves of its optimizer: None without a loss, NULL where that is not
   known yet, or where there are several. */
static PyObject *curve_of(Notes *plain, Slot *slot)
{
    if (is_none(plain->name))
        return Py_NewRef(Py_None);
    if (plain->value != NULL && PyList_CheckExact(plain->value))
        return NULL; /* their mean is taken in Python */
    PyObject *curve = slot->curves == NULL ? NULL : PyDict_GetItemWithError(slot->curves, plain->name);
    if (curve == NULL)
        PyErr_Clear();
    return Py_XNewRef(curve);
}

/* A step on the hot path, made by the optimizer of `slot`: 0, or -1 with an exception. */
static int step(StepListener *self, Notes *plain, Slot *slot, PyObject *curve, PyObject *rate)
{
    if (slot != plain->slot)
        Py_XSETREF(plain->slot, (Slot *)Py_NewRef(slot));
    int failed = plain->batch_is_new ? call_method((PyObject *)self, str_train_on, (PyObject *)plain, NULL, NULL) : 0;
    double now = seconds(CLOCK_REALTIME);
    long long number = slot->steps++;
    if (!failed && number % slot->every == 0)
        failed = note(plain, number, now, curve, slot->rate, rate);
    Py_CLEAR(plain->name);
    if (!failed && now > plain->due)
        failed = call_method((PyObject *)self, str_settle, (PyObject *)plain, NULL, NULL);
    return failed;
}

/* The optimizer's slot; NULL where it has none yet, or may be a suspended generator's. Borrowed. */
static Slot *slot_of(Notes *plain, PyObject *optimizer)
{
    Slot *slot = plain->slot;
    if (slot != NULL && slot->id != address(optimizer) && plain->call == 0 && plain->slots != NULL) {
        PyObject *id = PyLong_FromUnsignedLongLong(address(optimizer));
        PyObject *found = id == NULL ? NULL : PyDict_GetItemWithError(plain->slots, id);
        Py_XDECREF(id);
        if (found == NULL)
            PyErr_Clear();
        slot = found != NULL && PyObject_TypeCheck(found, &slot_type) ? (Slot *)found : NULL;
    }
    return slot != NULL && slot->id == address(optimizer) ? slot : NULL;
}

/* The same for any step: 1 where the hot path does not go. */
static int hear_step(StepListener *self, PyObject *optimizer)
{
    Notes *plain = self->plain;
    Slot *slot = plain == NULL || !is_here(plain) ? NULL : slot_of(plain, optimizer);
    if (slot == NULL || plain->noted == NULL)
        return 1;
    Py_INCREF(plain);
    Py_INCREF(slot);
    PyObject *rate = is_none(slot->rate) || slot->every <= 0 ? NULL : rate_of(optimizer);
    PyObject *curve = rate == NULL ? NULL : curve_of(plain, slot);
    int result = curve == NULL ? 1 : step(self, plain, slot, curve, rate);
    Py_XDECREF(curve);
    Py_XDECREF(rate);
    Py_DECREF(slot);
    Py_DECREF(plain);
    return result;
}

static PyObject *step_listener_stepped(StepListener *self, PyObject *const *args, Py_ssize_t count)
{
    if (count < 1) {
        PyErr_SetString(PyExc_TypeError, "an optimizer is missing");
        return NULL;
    }
    int is_quiet = is_inside();
    int result = is_quiet != 0 ? (is_quiet < 0 ? -1 : 0) : hear_step(self, args[0]);
    if (result > 0)
        result = call_method((PyObject *)self, str_stepped, args[0], NULL, NULL);
    return result < 0 ? NULL : Py_NewRef(Py_None);
}

static PyMethodDef step_listener_methods[] = {
    {"backward_hook", (PyCFunction)(void (*)(void))step_listener_hook, METH_FASTCALL, NULL},
    {"stepped", (PyCFunction)(void (*)(void))step_listener_stepped, METH_FASTCALL, NULL},
    {NULL},
};

static PyTypeObject step_listener_type = {
    BASE(StepListener, step_listener),
    .tp_getset = step_listener_getset,
    .tp_methods = step_listener_methods,
};

/* ---- LoaderListener ---- */

typedef struct {
    PyObject_HEAD
    Pass *latest;
    unsigned long long ignored;
} LoaderListener;

static PyMemberDef loader_listener_members[] = {
    {"ignored", T_ULONGLONG, offsetof(LoaderListener, ignored), 0, NULL},
    {NULL},
};
static Typed loader_listener_latest = {offsetof(LoaderListener, latest), &pass_type};
static PyGetSetDef loader_listener_getset[] = {{"latest", get_typed, set_typed, NULL, &loader_listener_latest}, {NULL}};

static int loader_listener_traverse(LoaderListener *self, visitproc visit, void *arg)
{
    Py_VISIT(self->latest);
    return 0;
}

static int loader_listener_clear(LoaderListener *self)
{
    Py_CLEAR(self->latest);
    return 0;
}

static void loader_listener_dealloc(LoaderListener *self)
{
    PyObject_GC_UnTrack(self);
    loader_listener_clear(self);
    Py_TYPE(self)->tp_free((PyObject *)self);
}

/* The pass that an iterator was begun for; NULL where there is none. */
static Pass *pass_of(Hook *hook, PyObject *iterator)
{
    PyObject *pass = is_true(hook->hooks, str_on) ? PyObject_GetAttr(iterator, str_reading) : NULL;
    if (pass != NULL && !PyObject_TypeCheck(pass, &pass_type))
        Py_CLEAR(pass);
    if (pass == NULL)
        PyErr_Clear();
    return (Pass *)pass;
}

/* The exception that is on its way, put aside while something else is called. */
static int stopped(PyObject *self, Pass *reading)
{
    PyObject *type, *value, *trace;
    PyErr_Fetch(&type, &value, &trace);
    int failed = call_method(self, str_stopped, (PyObject *)reading, NULL, NULL);
    if (!failed) {
        PyErr_Restore(type, value, trace);
        return 0;
    }
    Py_XDECREF(type);
    Py_XDECREF(value);
    Py_XDECREF(trace);
    return -1;
}

static PyObject *call_next(PyObject *self, PyObject *const *args, size_t flags, PyObject *names)
{
    Hook *hook = (Hook *)self;
    LoaderListener *listener = (LoaderListener *)hook->owner;
    Pass *reading = listener->latest;
    if (PyVectorcall_NARGS(flags) != 1)
        return PyObject_Vectorcall(hook->original, args, flags, names);
    PyObject *iterator = args[0];
    int is_looked_at = reading == NULL || reading->id != address(iterator);
    if (!is_looked_at)
        Py_INCREF(reading);
    else if (listener->ignored == address(iterator) || (reading = pass_of(hook, iterator)) == NULL) {
        listener->ignored = address(iterator);
        return PyObject_Vectorcall(hook->original, args, flags, names);
    }
    double began = seconds(CLOCK_MONOTONIC);
    PyObject *batch = PyObject_Vectorcall(hook->original, args, flags, names);
    if (batch != NULL) {
        reading->last = seconds(CLOCK_MONOTONIC);
        reading->waited += reading->last - began;
        reading->batches++;
        if (is_looked_at && call_method((PyObject *)listener, str_batch_came, iterator, (PyObject *)reading, batch) < 0)
            Py_CLEAR(batch);
    } else if (PyErr_ExceptionMatches(PyExc_StopIteration)) {
        stopped((PyObject *)listener, reading);
    }
    Py_DECREF(reading);
    return batch;
}

static PyObject *loader_listener_hook(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    return make_hook(self, args, count, call_next);
}

static PyMethodDef loader_listener_methods[] = {
    {"next_hook", (PyCFunction)(void (*)(void))loader_listener_hook, METH_FASTCALL, NULL},
    {NULL},
};

static PyTypeObject loader_listener_type = {
    BASE(LoaderListener, loader_listener),
    .tp_getset = loader_listener_getset,
    .tp_methods = loader_listener_methods,
};

/* ---- the module ---- */

/* The event that a note of the hot path is; NULL where it is another kind of note, perhaps with an exception. */
static PyObject *event_of(PyObject *noted)
{
    if (!PyTuple_Check(noted) || PyTuple_GET_SIZE(noted) != 7)
        return NULL;
    PyObject *name = PyTuple_GET_ITEM(noted, 3), *value = PyTuple_GET_ITEM(noted, 4), *rate = PyTuple_GET_ITEM(noted, 6);
    int has_value = PyFloat_CheckExact(value) && isfinite(PyFloat_AS_DOUBLE(value));
    int has_rate = PyFloat_CheckExact(rate) && isfinite(PyFloat_AS_DOUBLE(rate));
    if (PyTuple_GET_ITEM(noted, 2) != Py_None || !has_rate || !(has_value || name == Py_None))
        return NULL;
    PyObject *values = PyDict_New(), *event = NULL;
    int failed = values == NULL || (name != Py_None && PyDict_SetItem(values, name, value) < 0);
    if (!failed && PyDict_SetItem(values, PyTuple_GET_ITEM(noted, 5), rate) == 0) {
        PyObject *fields[] = {zero, zero, PyTuple_GET_ITEM(noted, 1), PyTuple_GET_ITEM(noted, 0), values};
        event = PyObject_Vectorcall(metrics, fields, 5, NULL);
    }
    Py_XDECREF(values);
    return event;
}

static PyObject *plain_events(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    if (count != 3 || !PyList_Check(args[0]) || !PyList_Check(args[2])) {
        PyErr_SetString(PyExc_TypeError, "it takes a list of notes, where to begin, and a list for the events");
        return NULL;
    }
    Py_ssize_t index = PyLong_AsSsize_t(args[1]);
    if (index < 0)
        return PyErr_Occurred() ? NULL : PyErr_Format(PyExc_ValueError, "it begins at 0");
    for (; index < PyList_GET_SIZE(args[0]); index++) {
        PyObject *event = event_of(PyList_GET_ITEM(args[0], index));
        if (event == NULL)
            break;
        int failed = PyList_Append(args[2], event);
        Py_DECREF(event);
        if (failed)
            break;
    }
    return PyErr_Occurred() ? NULL : PyLong_FromSsize_t(index);
}

static PyMethodDef functions[] = {
    {"plain_events", (PyCFunction)(void (*)(void))plain_events, METH_FASTCALL, NULL},
    {NULL},
};

static PyObject *import_name(const char *module, const char *name)
{
    PyObject *imported = PyImport_ImportModule(module);
    PyObject *value = imported == NULL ? NULL : PyObject_GetAttrString(imported, name);
    Py_XDECREF(imported);
    return value;
}

static int set_up(PyObject *module)
{
    struct { PyObject **place; const char *module, *name; } imports[] = {
        {&tensor_type, "torch", "Tensor"},
        {&alive, "tachograph.hooks.session", "alive"},
        {&inside, "tachograph.hooks.session", "inside"},
        {&session, "tachograph.hooks.session", "_session"},
        {&quiet, "tachograph.hooks.session", "_quiet"},
        {&stack, "tachograph.record.open_runs", "_stack"},
        {&metrics, "tachograph.events", "Metrics"},
        {&latest_names, "tachograph_frameworks.torch.loss_names", "latest_names"},
        {&read_copy, "tachograph_frameworks.torch.device", "read"},
    };
    struct { PyObject **place; const char *text; } texts[] = {
        {&str_backward, "_backward"}, {&str_batch_came, "_batch_came"}, {&str_is_cpu, "is_cpu"},
        {&str_item, "item"}, {&str_lr, "lr"}, {&str_on, "on"}, {&str_open, "open"},
        {&str_param_groups, "param_groups"},
        {&str_qualname, "__qualname__"}, {&str_reading, "_tachograph_reading"}, {&str_settle, "_settle"},
        {&str_stepped, "_stepped"}, {&str_stopped, "_stopped"}, {&str_train_on, "_train_on"},
    };
    PyTypeObject *types[] = {
        &slot_type, &pass_type, &notes_type, &hook_type, &step_listener_type, &loader_listener_type,
    };
    for (size_t index = 0; index < Py_ARRAY_LENGTH(imports); index++)
        if ((*imports[index].place = import_name(imports[index].module, imports[index].name)) == NULL)
            return -1;
    for (size_t index = 0; index < Py_ARRAY_LENGTH(texts); index++)
        if ((*texts[index].place = PyUnicode_InternFromString(texts[index].text)) == NULL)
            return -1;
    for (size_t index = 0; index < Py_ARRAY_LENGTH(types); index++)
        if (PyModule_AddType(module, types[index]) < 0)
            return -1;
    if ((zero = PyLong_FromLong(0)) == NULL)
        return -1;
    return PyModule_AddIntConstant(module, "FRAMES", 2) < 0 || PyModule_AddIntConstant(module, "LAYOUT", 5) < 0 ? -1 : 0;
}

static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, .m_name = "_in_c", .m_size = -1, .m_methods = functions};

PyMODINIT_FUNC PyInit__in_c(void)
{
    PyObject *module = PyModule_Create(&definition);
    if (module != NULL && set_up(module) < 0)
        Py_CLEAR(module);
    return module;
}
